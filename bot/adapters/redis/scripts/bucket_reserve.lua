-- Reserve a price, or look whether it could be. (Follows bucket.lua.)
--
-- KEYS: bucket, reservation, budget
-- ARGV: 1 "take"; "look", which writes nothing; "force", which takes what there is and never refuses
--       2 price, 3 burst, 4 tokens an hour, 5 the last known bucket
--       6 budget a day, 7 the last known budget ("day used"); "" for none
--       8 the time, in tests
-- Gives "allowed price now tokens at", and ",day used" if there is a budget, as they are afterwards; refused, they are as
-- they were. now is = where it is the same as at.
--
-- A reservation is the text "cost day taken": day is that of the budget it was taken from, - for none; taken is less
-- than cost where less was left to be forced. "settled " stands before it once it is.

local price, burst, rate, daily = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] / 3600, tonumber(ARGV[6])
local now = clock(ARGV[8])
local tokens, at, lost = refilled(KEYS[1], burst, rate, now, ARGV[5])

-- What nearly every call comes to, in as few steps as it takes.
if not daily and price <= tokens and ARGV[1] == 'take' and now == at then
  if redis.call('SET', KEYS[2], ARGV[2] .. ' - ' .. ARGV[2], 'NX', 'EX', RESERVATION_S) then
    return '1 ' .. ARGV[2] .. ' = ' .. keep(KEYS[1], tokens - price, at, burst, rate, now)
  end
end

local day, used = math.floor(now / 86400), 0
if daily then
  local held = redis.call('HMGET', KEYS[3], 'day', 'used')
  local held_day, held_used = tonumber(held[1]), tonumber(held[2])
  if not (held_day and held_used) then held_day, held_used = string.match(ARGV[7], '^(%d+) (%d+)$') end
  held_day, held_used = tonumber(held_day), tonumber(held_used)
  if held_day and held_used and held_day >= day then day, used = held_day, held_used end
end

local fits = price <= tokens and (not daily or price <= math.max(0, daily - used)) or ARGV[1] == 'force'
local look = ARGV[1] == 'look'
local taken = math.min(price, tokens)
local new = false
if fits and not look then
  local text = ARGV[2] .. (daily and string.format(' %d ', day) or ' - ')
  text = text .. (taken < price and string.format('%.17g', taken) or ARGV[2])
  new = redis.call('SET', KEYS[2], text, 'NX', 'EX', RESERVATION_S)
end
local before = not new and not look and redis.call('GET', KEYS[2])
local allowed = 1

if before then
  price = tonumber(string.match(before, '%d+'))
elseif fits then
  tokens = tokens - taken
  if daily then
    used = used + price
    if new then
      redis.call('HSET', KEYS[3], 'day', day, 'used', used)
      redis.call('EXPIRE', KEYS[3], BUDGET_S)
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
local answer = table.concat({allowed, price, of_now, state}, ' ')
return daily and string.format('%s,%d %d', answer, day, used) or answer
