#!lua flags=allow-oom
-- Send an active job back to wait: a retry after a failure, or a snooze that uses no attempt.
--
-- KEYS[1]  active          zset
-- KEYS[2]  delayed         zset
-- KEYS[3]  wake            list
-- KEYS[4]  audit           stream
-- KEYS[5]  job             hash
-- KEYS[6]  minute family   hash each
-- KEYS[7]  totals          hash
-- ARGV[1]  id
-- ARGV[2]  delivery
-- ARGV[3]  worker
-- ARGV[4]  delay_ms
-- ARGV[5]  uses_attempt    '1' for a retry, '0' for a snooze
-- ARGV[6]  started_at_ms
-- ARGV[7]  duration_ms
-- ARGV[8]  sketch bucket
-- ARGV[9]  error_type
-- ARGV[10] error
-- ARGV[11] fingerprint
-- ARGV[12] attempt record  JSON
-- ARGV[13] series          'throttled' or 'away': snoozes of which there may only be so many in a row; 'waiting': one that
--                           may come for ever, and that time is none of being throttled; '' for any other
-- Returns  1 done; 2 this delivery had been postponed before; 0 stale (nothing is written)

local active, delayed, wake, audit, job, minute_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local totals = KEYS[7]
local id, delivery, worker, delay_ms, uses_attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local record = redis.call('HMGET', job, 'state', 'delivery', 'name', 'trace', 'attempts', 'waited_ms')
if record[2] ~= delivery then
    return 0
elseif record[1] ~= 'active' then
    return record[1] == 'delayed' and 2 or 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include beginning
local is_retry = uses_attempt == '1'
local attempt = (record[5] or 0) + 1
local due = now + delay_ms
redis.call('HSET', job, 'state', 'delayed', 'due_at_ms', due, 'ready_at_ms', due, 'turn', due,
    'attempts', is_retry and attempt or attempt - 1, 'started_at_ms', ARGV[6], 'duration_ms', ARGV[7], 'error_type', ARGV[9], 'error', ARGV[10],
    'fingerprint', ARGV[11], 'attempt:' .. delivery, ARGV[12])
redis.call('HDEL', job, 'attempt:' .. delivery - 20)
if ARGV[13] == 'away' then
    redis.call('HINCRBY', job, 'away', 1)
elseif ARGV[13] == 'throttled' then
    redis.call('HINCRBY', job, 'throttled', 1)
    redis.call('HSETNX', job, 'throttled_since_ms', now)
    redis.call('HDEL', job, 'away')
elseif ARGV[13] == 'waiting' then
    redis.call('HDEL', job, 'away', 'throttled_since_ms')
else
    redis.call('HDEL', job, 'away', 'throttled', 'throttled_since_ms')
end
redis.call('ZREM', active, id)
redis.call('ZADD', delayed, due, id)
redis.call('XADD', audit, '*', 'action', is_retry and 'job.retried' or 'job.snoozed', 'job_id', id,
    'job_name', record[3], 'actor', worker, 'trace_id', record[4], 'attempt', attempt, 'delivery', delivery,
    'duration_ms', ARGV[7], 'waited_ms', record[6] or 0, 'error_type', ARGV[9], 'fingerprint', ARGV[11], 'detail', beginning(ARGV[10], 500))
if is_retry then
    local minute = minute_family .. math.floor(now / 60000)
    for _, counters in ipairs({minute, totals}) do
        redis.call('HINCRBY', counters, record[3] .. '|retried', 1)
        redis.call('HINCRBY', counters, record[3] .. '|failed:' .. ARGV[8], 1)
        redis.call('HINCRBY', counters, record[3] .. '|failed:sum_us', math.floor(ARGV[7] * 1000))
        redis.call('HINCRBY', counters, record[3] .. '|waited_ms', record[6] or 0)
    end
    redis.call('EXPIRE', minute, 90000, 'NX')
else
    redis.call('HINCRBY', totals, record[3] .. '|snoozed', 1)
end
if redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return 1
