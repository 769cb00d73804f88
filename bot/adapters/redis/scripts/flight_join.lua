-- Take part in a flight: lead it, take what came of it, or wait.
--
-- KEYS: lock, news, outcome
-- ARGV: own token
--       milliseconds of the lock
--       "new", or "waiting" where the caller has been answered "wait" before
--       the token of the outcome that was there when the caller came ("" for none)
-- Gives {"lead"}, {"landed", kind, body}, or {"wait", token of the outcome that is there, newest news}.
--
-- A value is for everybody. An error is only for those who waited while it came about: for them, the outcome is another
-- one than when they came. Whoever comes later tries again.

local held = redis.call('GET', KEYS[1])
if held == ARGV[1] then
  return {'lead'} -- the first answer to this was lost
end

local outcome = redis.call('HMGET', KEYS[3], 'token', 'kind', 'body')
local landed = outcome[1] or ''
if landed ~= '' and (outcome[2] == 'value' or (ARGV[3] == 'waiting' and landed ~= ARGV[4])) then
  return {'landed', outcome[2] or '', outcome[3] or ''}
end

if not held then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('DEL', KEYS[2])
  return {'lead'}
end
return {'wait', landed, redis.call('GET', KEYS[2]) or ''}
