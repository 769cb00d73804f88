-- Fill a bucket. (Follows bucket.lua.)
--
-- It is written rather than deleted: other processes may remember it empty, and take it for lost. Its time is the
-- present, which also cures a bucket that waits for a clock that was wrong.
--
-- KEYS: bucket
-- ARGV: 1 burst, 2 tokens an hour, 3 the time, in tests
-- Gives nothing.

local burst, now = tonumber(ARGV[1]), clock(ARGV[3])
keep(KEYS[1], burst, now, burst, ARGV[2] / 3600, now)
return ''
