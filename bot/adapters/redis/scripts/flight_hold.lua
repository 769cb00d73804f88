-- Stay the leader of a flight, and tell its news.
--
-- KEYS: lock, news (also the channel)
-- ARGV: own token, milliseconds of the lock, news ("" for none), milliseconds of the news
-- Gives 1, or 0 where the caller leads no longer.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
  redis.call('PUBLISH', KEYS[2], ARGV[3])
end
return 1
