#!lua flags=allow-oom
-- Take a job that has not begun out of its queue. Its idempotency key is free again.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  delayed       zset
-- KEYS[4]  cancelled     zset
-- KEYS[5]  audit         stream
-- KEYS[6]  job           hash
-- KEYS[7]  job family    hash each
-- KEYS[8]  idempotency family   string each
-- KEYS[9]  replay family        hash each
-- ARGV[1]  id
-- ARGV[2]  actor
-- ARGV[3]  cancelled_kept
-- Returns  'cancelled', or the state that does not allow it ('' for no such job; nothing is written)

local waiting, prioritized, delayed, cancelled = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local audit, job, job_family, idempotency_family, replay_family = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local id, actor = ARGV[1], ARGV[2]

--@include settling

local record = redis.call('HMGET', job, 'state', 'name', 'trace', 'idempotency_key', 'replay')
local state = record[1] or ''
if state == 'waiting' then
    if redis.call('ZREM', prioritized, id) == 0 then
        redis.call('LREM', waiting, 1, id)
    end
elseif state == 'delayed' then
    redis.call('ZREM', delayed, id)
else
    return state == 'cancelled' and 'already cancelled' or state
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', job, 'state', 'cancelled', 'finished_at_ms', now)
redis.call('ZADD', cancelled, now, id)
if record[4] and redis.call('GET', idempotency_family .. record[4]) == id then
    redis.call('UNLINK', idempotency_family .. record[4])
end
if record[5] then
    redis.call('HDEL', job, 'replay')
    settle(record[5], 'cancelled', 1)
end
redis.call('XADD', audit, '*', 'action', 'job.cancelled', 'job_id', id, 'job_name', record[2], 'actor', actor,
    'trace_id', record[3])
local excess = redis.call('ZCARD', cancelled) - tonumber(ARGV[3])
if excess > 0 then
    local oldest = redis.call('ZPOPMIN', cancelled, math.min(excess, 10))
    for i = 1, #oldest, 2 do
        redis.call('UNLINK', job_family .. oldest[i])
    end
end
return 'cancelled'
