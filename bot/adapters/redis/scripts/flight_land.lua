-- End a flight: leave what came of it to those who wait, or nothing, and one of them leads.
--
-- KEYS: lock, news (also the channel), outcome
-- ARGV: own token, kind of the outcome ("value", "error", or "" for none), body, milliseconds of the outcome
-- Gives 1, or 0 where the caller leads no longer: then, nothing is changed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '' then
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'token', ARGV[1], 'kind', ARGV[2], 'body', ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('PUBLISH', KEYS[2], '') -- no news: look again
return 1
