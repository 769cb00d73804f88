-- Reserve a price, or look whether it could be. (Follows bucket.lua.)
--
-- KEYS: bucket, budget, reservation
-- ARGV: 1 "take"; "look", which writes nothing; "force", which takes what there is and never refuses
--       2 price, 3 burst, 4 tokens a second, 5 budget a day (-1 for none)
--       6, 7 the last known tokens and time of the bucket; 8, 9 the last known day and use of the budget ("" for none)
--       10 the time, in tests
-- Gives "allowed price tokens at now", and " day used" if there is a budget, as they are afterwards; refused, they are
-- as they were. now is = where it is the same as at.
--
-- A reservation is the text "cost day taken": day is that of the budget it was taken from, - for none; taken is less
-- than cost where less was left to be forced. "settled " stands before it once it is.

local price, burst, rate, daily = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock(ARGV[10])
local tokens, at, lost = refilled(KEYS[1], burst, rate, now, ARGV[6], ARGV[7])

local day, used = math.floor(now / 86400), 0
if daily >= 0 then
  local held = redis.call('HMGET', KEYS[2], 'day', 'used')
  local held_day, held_used = tonumber(held[1]), tonumber(held[2])
  if not (held_day and held_used) then held_day, held_used = tonumber(ARGV[8]), tonumber(ARGV[9]) end
  if held_day and held_used and held_day >= day then day, used = held_day, held_used end
end

local fits = price <= tokens and (daily < 0 or price <= math.max(0, daily - used)) or ARGV[1] == 'force'
local look = ARGV[1] == 'look'
local taken = math.min(price, tokens)
local new = false
if fits and not look then
  local text = ARGV[2] .. (daily < 0 and ' - ' or string.format(' %d ', day))
  text = text .. (taken < price and string.format('%.17g', taken) or ARGV[2])
  new = redis.call('SET', KEYS[3], text, 'NX', 'EX', RESERVATION_S)
end
local before = not new and not look and redis.call('GET', KEYS[3])
local allowed = 1

if before then
  price = tonumber(string.match(before, '%d+'))
elseif fits then
  tokens = tokens - taken
  if daily >= 0 then
    used = used + price
    if new then
      redis.call('HSET', KEYS[2], 'day', day, 'used', used)
      redis.call('EXPIRE', KEYS[2], BUDGET_S)
    end
  end
else
  allowed = 0
end

local state = nil
if new or lost and not look then -- a lost one may be known to nobody else
  state = keep(KEYS[1], tokens, at, burst, rate, now)
end
state = state or string.format('%.17g %.6f', tokens, at)
local of_now = at == now and '=' or string.format('%.6f', now)
if daily < 0 then return table.concat({allowed, price, state, of_now}, ' ') end
return table.concat({allowed, price, state, of_now, day, used}, ' ')
