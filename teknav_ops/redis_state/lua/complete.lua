#!lua flags=allow-oom
-- Finish jobs that succeeded: record, counters, duration sketch and audit entry, as one step.
--
-- KEYS[1]  active          zset
-- KEYS[2]  completed       zset
-- KEYS[3]  wake            list
-- KEYS[4]  audit           stream
-- KEYS[5]  job family      hash each
-- KEYS[6]  minute family   hash each
-- KEYS[7]  totals          hash
-- KEYS[8]  replay family   hash each
-- ARGV[1]  worker
-- ARGV[2]  completed_kept  newest so many records stay
-- ARGV[3]  wakes           '1' where a finished job makes room under a global limit
-- ARGV[4+] six per job: id, delivery, started_at_ms, duration_ms, sketch bucket, result ('' none)
-- Returns  per job: 1 done; 2 this delivery had been finished before; 0 stale (nothing is written)

local active, completed, wake, audit, job_family, minute_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local totals, replay_family = KEYS[7], KEYS[8]
local worker, kept = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local minute = minute_family .. math.floor(now / 60000)

--@include settling

local results, finished, scored, counts, settled = {}, {}, {}, {}, {}
local function count(field, by)
    counts[field] = (counts[field] or 0) + by
end

for i = 4, #ARGV, 6 do
    local id, delivery, duration_ms = ARGV[i], ARGV[i + 1], ARGV[i + 3]
    local job = job_family .. id
    local record = redis.call('HMGET', job, 'state', 'delivery', 'name', 'trace', 'attempts', 'replays',
        'replay', 'waited_ms')
    if record[2] ~= delivery then
        results[#results + 1] = 0
    elseif record[1] ~= 'active' then
        results[#results + 1] = record[1] == 'completed' and 2 or 0
    else
        local attempt = (record[5] or 0) + 1
        redis.call('HSET', job, 'state', 'completed', 'started_at_ms', ARGV[i + 2], 'finished_at_ms', now,
            'duration_ms', duration_ms, 'attempts', attempt, 'result', ARGV[i + 5])
        redis.call('XADD', audit, '*', 'action', 'job.completed', 'job_id', id, 'job_name', record[3],
            'actor', worker, 'trace_id', record[4], 'attempt', attempt, 'delivery', delivery,
            'duration_ms', duration_ms, 'waited_ms', record[8] or 0)
        finished[#finished + 1] = id
        scored[#scored + 1] = now
        scored[#scored + 1] = id
        count(record[3] .. '|completed', 1)
        if record[6] then
            count(record[3] .. '|completed_again', 1)
        end
        count(record[3] .. '|' .. ARGV[i + 4], 1)
        count(record[3] .. '|sum_us', math.floor(duration_ms * 1000))
        count(record[3] .. '|waited_ms', record[8] or 0)
        if record[7] then
            redis.call('HDEL', job, 'replay')
            settled[record[7]] = (settled[record[7]] or 0) + 1
        end
        results[#results + 1] = 1
    end
end

for replay, jobs in pairs(settled) do
    settle(replay, 'completed', jobs)
end
if #finished > 0 then
    redis.call('ZREM', active, unpack(finished))
    redis.call('ZADD', completed, unpack(scored))
    local excess = redis.call('ZCARD', completed) - kept
    if excess > 0 then
        local expired = {}
        for i, entry in ipairs(redis.call('ZPOPMIN', completed, math.min(excess, 200))) do
            if i % 2 == 1 then
                expired[#expired + 1] = job_family .. entry
            end
        end
        redis.call('UNLINK', unpack(expired))
    end
    for field, by in pairs(counts) do
        redis.call('HINCRBY', minute, field, by)
        redis.call('HINCRBY', totals, field, by)
    end
    redis.call('EXPIRE', minute, 90000, 'NX')
    if ARGV[3] == '1' and redis.call('LLEN', wake) == 0 then
        redis.call('RPUSH', wake, '1')
    end
end
return results
