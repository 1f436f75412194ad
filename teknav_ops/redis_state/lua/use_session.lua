#!lua flags=allow-oom
-- Read a session, and put off its idle end where a person did something.
--
-- KEYS[1]  session   hash
-- ARGV[1]  idle_ms   it ends after so long without use
-- ARGV[2]  is_use    '1' when a person did something
-- ARGV[3]  coarse_ms use is written down at most this often, so that reading a page costs no write
-- Returns  the session's fields and values, and as `at_ms` the present time; empty when it has ended

local session, idle_ms, coarse_ms = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[3])
local fields = redis.call('HGETALL', session)
if #fields == 0 then
    return fields
end
local seen_at, ends_at
for i = 1, #fields, 2 do
    if fields[i] == 'seen_at_ms' then
        seen_at = tonumber(fields[i + 1])
    elseif fields[i] == 'ends_at_ms' then
        ends_at = tonumber(fields[i + 1])
    end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not seen_at or not ends_at or ends_at <= now then
    redis.call('DEL', session)
    return {}
end
if ARGV[2] == '1' and now - seen_at >= coarse_ms then
    redis.call('HSET', session, 'seen_at_ms', now)
    redis.call('PEXPIRE', session, math.min(idle_ms, ends_at - now))
end
fields[#fields + 1] = 'at_ms'
fields[#fields + 1] = now
return fields
