#!lua flags=allow-oom
-- Put a token on a list that somebody blocks on, unless one is there.
--
-- KEYS[1]  wake list   list
-- ARGV[1]  ttl_ms      when a list that nobody reads any more goes; 0 for never
-- Returns  1 if it was put there; 0 if there was one

local wake, ttl_ms = KEYS[1], tonumber(ARGV[1])
if redis.call('LLEN', wake) > 0 then
    return 0
end
redis.call('RPUSH', wake, '1')
if ttl_ms > 0 then
    redis.call('PEXPIRE', wake, ttl_ms)
end
return 1
