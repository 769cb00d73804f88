-- Compare and set. KEYS: the document and, where the change is noted, a list.
-- ARGV: '1' and the old value, or '0' and '' for none; the new value; milliseconds; the line, how many
-- lines are kept, and the milliseconds after which the list ends. Gives 1 where it was written.
local present = redis.call('GET', KEYS[1])
-- The client asks again where the connection broke before the answer came: then the line stands there already.
if KEYS[2] and present == ARGV[3] and redis.call('LINDEX', KEYS[2], 0) == ARGV[5] then
  return 1
end
local expected = false
if ARGV[1] == '1' then
  expected = ARGV[2]
end
if present ~= expected then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
if KEYS[2] then
  redis.call('LPUSH', KEYS[2], ARGV[5])
  redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[6]) - 1)
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
return 1
