-- Let a reservation come to a final cost, once, and give back the rest. (Follows bucket.lua.)
--
-- KEYS: bucket, reservation, budget
-- ARGV: 1 final cost, 2 burst, 3 tokens an hour, 4 the time, in tests
-- Gives "tokens at,day used"; on either side nothing where it was not touched.

local held = redis.call('GET', KEYS[2])
local cost, day, taken = string.match(held or '', '^(%d+) (%S+) (%S+)$')
if not cost then return '' end -- never reserved, or settled
redis.call('SET', KEYS[2], 'settled ' .. held, 'KEEPTTL')

local final = tonumber(ARGV[1])
cost, taken = tonumber(cost), tonumber(taken)
local bucket, budget = '', ''

local back = taken - final
if back > 0 and redis.call('EXISTS', KEYS[1]) == 1 then -- one that is not there is full
  local burst, rate, now = tonumber(ARGV[2]), ARGV[3] / 3600, clock(ARGV[4])
  local tokens, at = refilled(KEYS[1], burst, rate, now)
  bucket = keep(KEYS[1], math.min(burst, tokens + back), at, burst, rate, now)
end

if cost > final and redis.call('HGET', KEYS[3], 'day') == day then
  local used = math.max(0, tonumber(redis.call('HGET', KEYS[3], 'used')) - (cost - final))
  redis.call('HSET', KEYS[3], 'used', used)
  budget = string.format('%s %d', day, used)
end

return bucket .. ',' .. budget
