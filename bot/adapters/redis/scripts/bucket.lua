-- The bucket of bot/core/quotas.py: what the scripts that touch one have in common.
--
-- A bucket is a hash {tokens, at}. One that is not there is full, unless the caller knows of a state it was in (a hint):
-- then Redis has lost it, and it is as full as it can have become since.
--
-- Ahead of it stand MARGIN_S, BUDGET_S and RESERVATION_S, of bot/adapters/redis/keys.py.

local LONGEST = 315360000 -- ten years, in seconds; more would overflow where tokens come very slowly

local function clock(given) -- tests give a time, the bot never does
  if given then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Gives tokens, at, and whether they are from the hint. Time never goes back: a clock that does finds the bucket waiting.
local function refilled(key, burst, rate, now, hint_tokens, hint_at)
  local held = redis.call('HMGET', key, 'tokens', 'at')
  local tokens, at, lost = tonumber(held[1]), tonumber(held[2]), false
  if not (tokens and at) then
    tokens, at, lost = tonumber(hint_tokens), tonumber(hint_at), true
    if not (tokens and at) then tokens, at, lost = burst, now, false end
  end
  if now > at then
    tokens, at = tokens + (now - at) * rate, now
  end
  if tokens > burst then tokens = burst end
  return tokens, at, lost
end

-- Kept for as long as an empty one takes to fill: by then it is full, and so is whatever anybody remembers of it.
-- Gives tokens and at as they were written.
local function keep(key, tokens, at, burst, rate, now)
  local tokens_text, at_text = string.format('%.17g', tokens), string.format('%.6f', at)
  redis.call('HSET', key, 'tokens', tokens_text, 'at', at_text)
  redis.call('EXPIRE', key, math.min(math.ceil(burst / rate + at - now) + MARGIN_S, LONGEST))
  return tokens_text, at_text
end
