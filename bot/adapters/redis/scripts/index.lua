-- Put before the scripts that name something in an index: a sorted set, scored by when each member's time is over
-- (Unix time in seconds). Those whose time is over go; the set ends with the latest of the others.
local function name_in(index, member, over_at, now)
  redis.call('ZADD', index, over_at, member)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
  local latest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  if latest[2] then
    redis.call('PEXPIRE', index, math.max(1, math.ceil((tonumber(latest[2]) - tonumber(now)) * 1000)))
  end
end
