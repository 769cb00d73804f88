-- Let a reservation come to a final cost, once, and give back the rest. (Follows bucket.lua.)
--
-- KEYS: bucket, budget, reservation
-- ARGV: 1 final cost, 2 burst, 3 tokens a second, 4 the time, in tests
-- Gives "tokens at,day used"; on either side nothing where it was not touched.

local held = redis.call('HMGET', KEYS[3], 'cost', 'day', 'state', 'taken')
if not held[1] or held[3] then return '' end
redis.call('HSET', KEYS[3], 'state', 'settled') -- which keeps its TTL

local final, cost = tonumber(ARGV[1]), tonumber(held[1])
local bucket, budget = ' ', ' '

local back = (tonumber(held[4]) or cost) - final
if back > 0 and redis.call('EXISTS', KEYS[1]) == 1 then -- one that is not there is full
  local burst, rate, now = tonumber(ARGV[2]), tonumber(ARGV[3]), clock(ARGV[4])
  local tokens, at = refilled(KEYS[1], burst, rate, now)
  tokens = math.min(burst, tokens + back)
  bucket = table.concat({keep(KEYS[1], tokens, at, burst, rate, now)}, ' ')
end

if held[2] and cost > final and redis.call('HGET', KEYS[2], 'day') == held[2] then
  local used = math.max(0, tonumber(redis.call('HGET', KEYS[2], 'used')) - (cost - final))
  redis.call('HSET', KEYS[2], 'used', used)
  budget = string.format('%s %d', held[2], used)
end

return bucket .. ',' .. budget
