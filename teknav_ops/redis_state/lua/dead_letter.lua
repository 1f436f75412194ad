#!lua flags=allow-oom
-- Give a job up: from active to failed, with a dead letter for an operator to decide about.
--
-- KEYS[1]  active                   zset
-- KEYS[2]  failed                   zset
-- KEYS[3]  dlq                      zset
-- KEYS[4]  dlq record               hash
-- KEYS[5]  dlq of this error type   zset
-- KEYS[6]  dlq of this fingerprint  zset
-- KEYS[7]  dlq groups               hash
-- KEYS[8]  wake                     list
-- KEYS[9]  audit                    stream
-- KEYS[10] job                      hash
-- KEYS[11] job family               hash each
-- KEYS[12] minute family            hash each
-- KEYS[13] totals                   hash
-- KEYS[14] replay family            hash each, and a zset of those that failed again
-- ARGV[1]  id
-- ARGV[2]  delivery
-- ARGV[3]  worker
-- ARGV[4]  started_at_ms
-- ARGV[5]  duration_ms
-- ARGV[6]  sketch bucket            '' for a run whose duration is not known
-- ARGV[7]  error_type
-- ARGV[8]  error
-- ARGV[9]  stack
-- ARGV[10] fingerprint
-- ARGV[11] attempt record  JSON
-- ARGV[12] failed_kept     newest so many stay in the history; records with a dead letter stay anyway
-- ARGV[13] queue
-- Returns  1 done; 2 this delivery had been given up before; 0 stale (nothing is written)

local active, failed, dlq, dlq_record, dlq_type, dlq_fingerprint, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local wake, audit, job, job_family, minute_family, totals = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local replay_family = KEYS[14]
local id, delivery, worker, duration_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local error_type, message, stack, fingerprint = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local record = redis.call('HMGET', job, 'state', 'delivery', 'name', 'trace', 'attempts', 'payload',
    'waited_ms', 'replays', 'replay')
if record[2] ~= delivery then
    return 0
elseif record[1] ~= 'active' then
    return record[1] == 'failed' and 2 or 0
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include beginning
--@include settling

-- By cause, of which a record names so many; and as a list, so that just these can be replayed.
local CAUSE_LIMIT = 300
local function fail_again(replay)
    local record, cause = replay_family .. replay, 'again:' .. error_type .. '|' .. fingerprint
    settle(replay, 'failed_again', 1)
    if redis.call('HEXISTS', record, cause) == 1 or redis.call('HLEN', record) < CAUSE_LIMIT then
        settle(replay, cause, 1)
    end
    local left_ms = redis.call('PTTL', record)
    if left_ms > 0 then
        redis.call('ZADD', record .. ':again', now, id)
        redis.call('PEXPIRE', record .. ':again', left_ms)
    end
end

local attempt = (record[5] or 0) + 1
local name, trace = record[3] or '', record[4] or ''
redis.call('HSET', job, 'state', 'failed', 'attempts', attempt, 'started_at_ms', ARGV[4], 'finished_at_ms', now,
    'duration_ms', duration_ms, 'error_type', error_type, 'error', message, 'fingerprint', fingerprint,
    'attempt:' .. delivery, ARGV[11])
redis.call('HDEL', job, 'attempt:' .. delivery - 20)
redis.call('ZREM', active, id)
redis.call('ZADD', failed, now, id)
redis.call('ZADD', dlq, now, id)
redis.call('ZADD', dlq_type, now, id)
redis.call('ZADD', dlq_fingerprint, now, id)
redis.call('HINCRBY', groups, error_type .. '|' .. fingerprint, 1)
redis.call('HSET', dlq_record, 'originalQueue', ARGV[13], 'originalJobId', id, 'error', message, 'stack', stack,
    'attemptsMade', attempt, 'failedAt', now, 'payload', record[6] or '', 'traceId', trace, 'jobName', name,
    'errorType', error_type, 'fingerprint', fingerprint)
if record[9] then
    redis.call('HSET', dlq_record, 'replay', record[9])
    redis.call('HDEL', job, 'replay')
    fail_again(record[9])
end
for _, action in ipairs({'job.failed', 'dlq.added'}) do
    redis.call('XADD', audit, '*', 'action', action, 'job_id', id, 'job_name', name, 'actor', worker,
        'trace_id', trace, 'attempt', attempt, 'delivery', delivery, 'duration_ms', duration_ms,
        'waited_ms', record[7] or 0, 'error_type', error_type, 'fingerprint', fingerprint, 'detail', beginning(message, 500))
end

local minute = minute_family .. math.floor(now / 60000)
for _, counters in ipairs({minute, totals}) do
    redis.call('HINCRBY', counters, name .. '|failed', 1)
    if record[8] then
        redis.call('HINCRBY', counters, name .. '|failed_again', 1)
    end
    if ARGV[6] ~= '' then
        redis.call('HINCRBY', counters, name .. '|failed:' .. ARGV[6], 1)
        redis.call('HINCRBY', counters, name .. '|failed:sum_us', math.floor(duration_ms * 1000))
        redis.call('HINCRBY', counters, name .. '|waited_ms', record[7] or 0)
    end
end
redis.call('EXPIRE', minute, 90000, 'NX')

local excess = redis.call('ZCARD', failed) - tonumber(ARGV[12])
if excess > 0 then
    for i, entry in ipairs(redis.call('ZPOPMIN', failed, math.min(excess, 10))) do
        if i % 2 == 1 and not redis.call('ZSCORE', dlq, entry) then
            redis.call('UNLINK', job_family .. entry)
        end
    end
end
if redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return 1
