-- Reserve a price, or look whether it could be. (Follows bucket.lua.)
--
-- KEYS: bucket, budget, reservation
-- ARGV: 1 "take"; "look", which writes nothing; "force", which takes what there is and never refuses
--       2 price, 3 burst, 4 tokens a second, 5 budget a day (-1 for none)
--       6, 7 the last known tokens and time of the bucket; 8, 9 the last known day and use of the budget ("" for none)
--       10 the time, in tests
-- Gives "allowed price tokens at now", and " day used" if there is a budget, as they are afterwards; refused, they are
-- as they were.
--
-- A reservation is a hash {cost, day, taken, state}: day is that of the budget, if there is one; taken is there where
-- less than the cost was left to be forced; state is there once it is settled.

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
local new = fits and not look and redis.call('HSETNX', KEYS[3], 'cost', ARGV[2]) == 1
local before = not new and not look and redis.call('HGET', KEYS[3], 'cost')
local allowed, tokens_text, at_text = 1, nil, nil

if before then
  price = tonumber(before)
elseif fits then
  local taken = math.min(price, tokens)
  tokens = tokens - taken
  if new and taken < price then redis.call('HSET', KEYS[3], 'taken', string.format('%.17g', taken)) end
  if daily >= 0 then
    used = used + price
    if new then
      redis.call('HSET', KEYS[3], 'day', day)
      redis.call('HSET', KEYS[2], 'day', day, 'used', used)
      redis.call('EXPIRE', KEYS[2], BUDGET_S)
    end
  end
  if new then redis.call('EXPIRE', KEYS[3], RESERVATION_S) end
else
  allowed = 0
end
if new or lost and not look then -- a lost one may be known to nobody else
  tokens_text, at_text = keep(KEYS[1], tokens, at, burst, rate, now)
end

at_text = at_text or string.format('%.6f', at)
local now_text = at == now and at_text or string.format('%.6f', now)
local reply = {allowed, price, tokens_text or string.format('%.17g', tokens), at_text, now_text}
if daily >= 0 then reply[6], reply[7] = day, used end
return table.concat(reply, ' ')
