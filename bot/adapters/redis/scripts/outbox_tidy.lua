-- Forget consumers that have nothing and have not been heard of for long.
--
-- KEYS: outbox
-- ARGV: group, milliseconds
-- Gives how many.

local gone = 0
for _, described in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for at = 1, #described, 2 do
    consumer[described[at]] = described[at + 1]
  end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    gone = gone + 1
  end
end
return gone
