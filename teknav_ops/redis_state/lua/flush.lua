#!lua flags=allow-oom
-- Drop jobs that have not begun, a bounded number at a time (Dramatiq's Broker.flush). Their idempotency keys are free.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  delayed       zset
-- KEYS[4]  audit         stream
-- KEYS[5]  job family    hash each
-- KEYS[6]  idempotency family   string each
-- KEYS[7]  replay family        hash each
-- ARGV[1]  actor
-- ARGV[2]  count         at most so many of each
-- Returns  how many were dropped

local waiting, prioritized, delayed, audit, job_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local idempotency_family, replay_family = KEYS[6], KEYS[7]

--@include settling

local dropped = 0
local function drop(id)
    local record = redis.call('HMGET', job_family .. id, 'name', 'trace', 'idempotency_key', 'replay')
    if record[3] and redis.call('GET', idempotency_family .. record[3]) == id then
        redis.call('UNLINK', idempotency_family .. record[3])
    end
    redis.call('UNLINK', job_family .. id)
    if record[4] then
        settle(record[4], 'cancelled', 1)
    end
    redis.call('XADD', audit, '*', 'action', 'job.dropped', 'job_id', id, 'job_name', record[1] or '', 'actor', ARGV[1],
        'trace_id', record[2] or '')
    dropped = dropped + 1
end

for _, id in ipairs(redis.call('LPOP', waiting, ARGV[2]) or {}) do
    drop(id)
end
for _, from in ipairs({prioritized, delayed}) do
    local popped = redis.call('ZPOPMIN', from, ARGV[2])
    for i = 1, #popped, 2 do
        drop(popped[i])
    end
end
return dropped
