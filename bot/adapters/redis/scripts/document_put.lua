-- KEYS: the document and, where it is named in one, the index.
-- ARGV: the value; milliseconds; the value that stays, or ''; the member, its time, now.
-- Gives 1 where it was written.
if ARGV[3] ~= '' and redis.call('GET', KEYS[1]) == ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if KEYS[2] then
  name_in(KEYS[2], ARGV[4], ARGV[5], ARGV[6])
end
return 1
