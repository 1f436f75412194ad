#!lua flags=no-writes
-- How many jobs are in each state, at one instant, and how old the oldest that waits is.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  active        zset
-- KEYS[4]  delayed       zset
-- KEYS[5]  completed     zset
-- KEYS[6]  failed        zset
-- KEYS[7]  cancelled     zset
-- KEYS[8]  dlq           zset
-- KEYS[9]  corrupt       zset
-- KEYS[10] workers       zset
-- KEYS[11] control       hash
-- KEYS[12] audit         stream
-- KEYS[13] job family    hash each
-- KEYS[14] totals        hash
-- ARGV[1]  heartbeat_ms  a worker silent for longer does not count
-- Returns  {waiting, active, delayed, completed, failed, cancelled, dlq, corrupt, workers, paused since,
--          concurrency, global_concurrency, rate_count, rate_period_ms, audit entries not yet in AuditLog,
--          now (ms), age in ms of the job that waits longest or '', age in ms of the oldest audit entry or 0,
--          completed ever, failed ever; '' where the totals are damaged}

local waiting, prioritized, audit, job_family = KEYS[1], KEYS[2], KEYS[12], KEYS[13]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local control = redis.call('HMGET', KEYS[11], 'paused', 'concurrency', 'global_concurrency', 'rate_count', 'rate_period_ms')

-- Since when the first of these that has a readable record could have begun.
local oldest
local function look_at(ids)
    for _, id in ipairs(ids) do
        local record = redis.pcall('HMGET', job_family .. id, 'ready_at_ms', 'enqueued_at_ms')
        local since = not record.err and tonumber(record[1] or record[2])
        if since then
            oldest = math.min(oldest or since, since)
            return
        end
    end
end

look_at(redis.call('LRANGE', waiting, 0, 4))
-- Within a priority they are in order of ready time; there are nineteen, and 0 has the list besides.
local from = '-inf'
for _ = 1, 19 do
    local found = redis.call('ZRANGEBYSCORE', prioritized, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 5)
    if not found[1] then
        break
    end
    local ids = {}
    for i = 1, #found, 2 do
        ids[#ids + 1] = found[i]
    end
    look_at(ids)
    from = (math.floor(found[2] / 1099511627776) + 1) * 1099511627776
end

-- What fell due waits, though nobody has fetched since: there may be no worker.
local due = tonumber(redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2])
if due and due <= now then
    oldest = math.min(oldest or due, due)
end

-- What has ended since the first job: the lists above keep the newest only.
local ended = {completed = 0, failed = 0}
local totals = redis.pcall('HGETALL', KEYS[14])
if totals.err then
    ended = {completed = '', failed = ''}
else
    for i = 1, #totals, 2 do
        local counter = totals[i]:match('|(%l+)$')
        if ended[counter] then
            ended[counter] = ended[counter] + (tonumber(totals[i + 1]) or 0)
        end
    end
end

local lag_ms = 0
for _, entry in ipairs(redis.call('XRANGE', audit, '-', '+', 'COUNT', 1)) do
    lag_ms = math.max(0, now - entry[1]:match('^%d+'))
end

return {
    redis.call('LLEN', waiting) + redis.call('ZCARD', prioritized),
    redis.call('ZCARD', KEYS[3]),
    redis.call('ZCARD', KEYS[4]),
    redis.call('ZCARD', KEYS[5]),
    redis.call('ZCARD', KEYS[6]),
    redis.call('ZCARD', KEYS[7]),
    redis.call('ZCARD', KEYS[8]),
    redis.call('ZCARD', KEYS[9]),
    redis.call('ZCOUNT', KEYS[10], now - tonumber(ARGV[1]), '+inf'),
    control[1] or '', control[2] or '', control[3] or '', control[4] or '', control[5] or '',
    redis.call('XLEN', audit),
    now, oldest and math.max(0, now - oldest) or '', lag_ms,
    ended.completed, ended.failed,
}
