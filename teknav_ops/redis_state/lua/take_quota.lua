#!lua flags=allow-oom
-- Count jobs that are about to be made against a limit per window, or say how long to wait. No window of the stated
-- length holds more than the limit: a second counts until it has left the window whole.
--
-- KEYS[1]  quota      hash: second -> jobs counted in it
-- ARGV[1]  count      how many jobs
-- ARGV[2]  limit      most of them in a window
-- ARGV[3]  window_s   its length
-- Returns  0 when they were counted; otherwise in how many seconds they will fit (nothing was counted). Where they
--          never fit, the length of the window.

local quota = KEYS[1]
local count, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local fields, seconds, used = redis.call('HGETALL', quota), {}, 0
for at = 1, #fields, 2 do
    local second, jobs = tonumber(fields[at]), tonumber(fields[at + 1])
    if second < now - window or second > now then
        -- What lies ahead was counted before the clock was set back.
        redis.call('HDEL', quota, fields[at])
    else
        seconds[#seconds + 1] = {second, jobs}
        used = used + jobs
    end
end
if used + count <= limit then
    redis.call('HINCRBY', quota, string.format('%.0f', now), count)
    redis.call('EXPIRE', quota, window + 1)
    return 0
end
table.sort(seconds, function(one, other) return one[1] < other[1] end)
for _, entry in ipairs(seconds) do
    used = used - entry[2]
    if used + count <= limit then
        return entry[1] + window + 1 - now
    end
end
return window
