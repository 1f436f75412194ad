#!lua flags=allow-oom
-- Put a session on the list of what ends with its user. Ended ones leave the list, and so do the first to end of too many.
--
-- KEYS[1]  user sessions  zset
-- ARGV[1]  session id
-- ARGV[2]  longest_ms  it ends after so long in any case
-- ARGV[3]  kept_ms     how long any session may last
-- ARGV[4]  most        so many stay on the list
-- Returns  the sessions that were too many; the caller ends them

local listed, longest_ms, most = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', listed, now + longest_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', listed, '-inf', now)
redis.call('PEXPIRE', listed, ARGV[3])
local surplus = redis.call('ZRANGE', listed, 0, -most - 1)
redis.call('ZREMRANGEBYRANK', listed, 0, -most - 1)
return surplus
