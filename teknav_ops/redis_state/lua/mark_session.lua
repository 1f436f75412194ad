#!lua flags=allow-oom
-- Write down something new of a session, if it is still open: a session that has ended must not come back as a part.
--
-- KEYS[1]  session  hash
-- ARGV[1]  a field that becomes the present time in ms since the epoch; '' for none
-- ARGV[2+] field, value …
-- Returns  1, or 0 when it has ended

if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
if ARGV[1] ~= '' then
    local time = redis.call('TIME')
    redis.call('HSET', KEYS[1], ARGV[1], time[1] * 1000 + math.floor(time[2] / 1000))
end
if ARGV[2] then
    redis.call('HSET', KEYS[1], unpack(ARGV, 2))
end
return 1
