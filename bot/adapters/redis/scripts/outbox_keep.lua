-- Tell that a consumer is still at some entries: those of them that nobody else has taken.
--
-- KEYS: outbox
-- ARGV: group, consumer, entries

for at = 3, #ARGV do
  local own = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2])
  if own[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
  end
end
return 1
