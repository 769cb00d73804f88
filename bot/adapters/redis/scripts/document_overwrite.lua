-- KEYS: documents. ARGV: the value of all of them, milliseconds.
-- A full server refuses to write, unless a script has made room before: so all are deleted first.
for _, key in ipairs(KEYS) do
  redis.call('DEL', key)
end
for _, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
end
return 1
