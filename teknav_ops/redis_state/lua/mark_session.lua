#!lua flags=allow-oom
-- Write down something new of a session, if it is still open: a session that has ended must not come back as a part.
--
-- KEYS[1]  session  hash
-- ARGV     field, value …
-- Returns  1, or 0 when it has ended

if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
