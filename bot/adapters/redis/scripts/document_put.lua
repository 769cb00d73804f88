-- KEYS: the document and, where it is named in one, the index.
-- ARGV: the value; milliseconds, or '' for ever; the value that stays, or ''; the member, its time, now.
-- Gives 1 where it was written.
if ARGV[3] ~= '' and redis.call('GET', KEYS[1]) == ARGV[3] then
  return 0
end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if KEYS[2] then
  name_in(KEYS[2], ARGV[4], ARGV[5], ARGV[6])
end
return 1
