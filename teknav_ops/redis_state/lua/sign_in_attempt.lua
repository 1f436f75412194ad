#!lua flags=allow-oom
-- Count an attempt to sign in before the password is looked at, so that many at once cannot slip through together.
--
-- KEYS[1]  attempts     hash: failures, open_at_ms
-- ARGV[1]  wish         begin (count it as a failure), refund (it was none) or forget (all is well)
-- ARGV[2]  free_count   so many failures cost no delay
-- ARGV[3]  delay_ms     delay after the first failure beyond; doubles with each further one
-- ARGV[4]  longest_ms   longest delay
-- ARGV[5]  memory_ms    after so long without an attempt all is forgotten
-- Returns  0 when the attempt may go on; otherwise for how many ms it must wait (nothing was counted)

local attempts, wish = KEYS[1], ARGV[1]
local free, delay_ms, longest_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if wish == 'forget' then
    redis.call('DEL', attempts)
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', attempts, 'failures', 'open_at_ms')
local failures, open_at = tonumber(record[1] or 0), tonumber(record[2] or 0)
if wish == 'refund' then
    if failures > 0 then
        redis.call('HSET', attempts, 'failures', failures - 1, 'open_at_ms', 0)
    end
    return 0
end
if open_at > now then
    return open_at - now
end
failures = failures + 1
if failures > free then
    open_at = now + math.min(longest_ms, delay_ms * 2 ^ math.min(failures - free - 1, 40))
end
redis.call('HSET', attempts, 'failures', failures, 'open_at_ms', string.format('%.0f', open_at))
redis.call('PEXPIRE', attempts, ARGV[5])
return 0
