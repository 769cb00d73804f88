-- Give answers to a consumer: those that were given to it and never reached it, those whose taker keeps still, new ones.
--
-- KEYS: outbox
-- ARGV: group, consumer, how many at most, milliseconds of stillness, milliseconds of an outbox that is new, and the
--       entries that the consumer has
-- Gives a list of {entry, request or "", takes}, and those of its entries that the consumer has no longer.

local key, group, consumer, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local has, given, gone = {}, {}, {}
for at = 6, #ARGV do
  has[ARGV[at]] = true
end

local function give(id, fields, takes)
  local request = ''
  for at = 1, #fields, 2 do
    if fields[at] == 'request' then
      request = fields[at + 1]
    end
  end
  given[#given + 1] = {id, request, takes}
end

local function claim(pending)
  if #given >= most then
    return
  end
  local entry = redis.call('XRANGE', key, pending[1], pending[1])[1]
  if entry then
    redis.call('XCLAIM', key, group, consumer, 0, entry[1])
    give(entry[1], entry[2], pending[4] + 1)
  else  -- somebody deleted it
    redis.call('XACK', key, group, pending[1])
  end
end

local own = redis.pcall('XPENDING', key, group, '-', '+', 1000000, consumer)
if own.err then  -- the first time, or the server has lost the group: whatever is there is new
  redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
  if redis.call('PTTL', key) < 0 then
    redis.call('PEXPIRE', key, ARGV[5])
  end
  own = {}
end
for _, pending in ipairs(own) do
  if has[pending[1]] then
    has[pending[1]] = nil
  else
    claim(pending)
  end
end
for id in pairs(has) do
  gone[#gone + 1] = id
end
for _, pending in ipairs(redis.call('XPENDING', key, group, 'IDLE', ARGV[4], '-', '+', most)) do
  claim(pending)
end
if #given < most then
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', most - #given, 'STREAMS', key, '>')
  for _, entry in ipairs(new and new[1][2] or {}) do
    give(entry[1], entry[2], 1)
  end
end
return {given, gone}
