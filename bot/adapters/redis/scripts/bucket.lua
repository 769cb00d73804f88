-- The bucket of bot/core/quotas.py: what the scripts that touch one have in common.
--
-- A bucket is the text "tokens at". One that is not there is full, unless the caller knows of a state it was in (a
-- hint, such a text): then Redis has lost it, and it is as full as it can have become since. Texts, because a bucket is
-- read and written at every decision: GET and SET with a time to live are half of the calls that a hash needs.
--
-- Ahead of it stand MARGIN_S, BUDGET_S and RESERVATION_S, of bot/adapters/redis/keys.py.

local LONGEST = 315360000 -- ten years, in seconds; more would overflow where tokens come very slowly

local function clock(given) -- tests give a time, the bot never does
  if given then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

-- Gives tokens, at, and whether they are from the hint. Time never goes back: a clock that does finds the bucket waiting.
local function refilled(key, burst, rate, now, hint)
  local text, lost = redis.call('GET', key), false
  if not text then text, lost = hint, true end
  local space = text and string.find(text, ' ', 1, true)
  local tokens = space and tonumber(string.sub(text, 1, space - 1))
  local at = space and tonumber(string.sub(text, space + 1))
  if not (tokens and at) then return burst, now, false end
  if now > at then tokens, at = tokens + (now - at) * rate, now end
  if tokens > burst then tokens = burst end
  return tokens, at, lost
end

-- Kept for as long as an empty one takes to fill: by then it is full, and so is whatever anybody remembers of it.
-- Gives the text.
local function keep(key, tokens, at, burst, rate, now)
  local text = string.format('%.17g %.6f', tokens, at)
  redis.call('SETEX', key, math.min(math.ceil(burst / rate + at - now) + MARGIN_S, LONGEST), text)
  return text
end
