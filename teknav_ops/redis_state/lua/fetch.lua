#!lua flags=allow-oom
-- Hand out up to n waiting jobs under a new lease, after moving due delayed jobs to waiting.
-- A paused queue ripens but hands out nothing; global concurrency and the rate limit are kept here.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  delayed       zset
-- KEYS[4]  active        zset
-- KEYS[5]  wake          list
-- KEYS[6]  control       hash
-- KEYS[7]  rate          string
-- KEYS[8]  corrupt       zset
-- KEYS[9]  sequence      string
-- KEYS[10] job family    hash each
-- ARGV[1]  count                at most so many
-- ARGV[2]  lease_ms
-- ARGV[3]  worker
-- ARGV[4]  global_concurrency   the topology's; 0 for none
-- ARGV[5]  rate_count           the topology's; 0 for none
-- ARGV[6]  rate_period_ms
-- Returns  {look again in ms or -1, concurrency override or '', is limited globally,
--          then per job {id, delivery, name, payload, options, attempts, lost, enqueued_at_ms, trace,
--          idempotency_key}}

local waiting, prioritized, delayed, active, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local control, rate, corrupt, sequence, job_family = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local count, lease_ms, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', delayed, id)
    local job = job_family .. id
    local priority = redis.pcall('HGET', job, 'priority')
    redis.pcall('HSET', job, 'state', 'waiting')
    if type(priority) == 'string' then
        redis.call('ZADD', prioritized, priority * 1099511627776 + redis.call('INCR', sequence), id)
    else
        redis.call('RPUSH', waiting, id)
    end
end
local look_again = -1
local next_due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
if next_due then
    look_again = math.max(0, next_due - now)
end

local settings = redis.call('HMGET', control, 'paused', 'concurrency', 'global_concurrency', 'rate_count', 'rate_period_ms')
local concurrency = settings[2] or ''
local global = tonumber(settings[3] or ARGV[4])
local rate_count = tonumber(settings[4] or ARGV[5])
local rate_period_ms = tonumber(settings[5] or ARGV[6])
local result = {look_again, concurrency, (global > 0 or rate_count > 0) and 1 or 0}
if settings[1] then
    return result
end

local wanted = count
if global > 0 then
    count = math.min(count, global - redis.call('ZCARD', active))
end
if rate_count > 0 then
    local left = rate_count - tonumber(redis.call('GET', rate) or '0')
    if left <= 0 then
        local reset_ms = math.max(1, redis.call('PTTL', rate))
        result[1] = look_again < 0 and reset_ms or math.min(look_again, reset_ms)
    end
    count = math.min(count, left)
end
if count <= 0 then
    return result
end

-- Below 0 goes before the list, above 0 after it.
local function take(from, ids)
    for _, id in ipairs(ids) do
        redis.call('ZREM', from, id)
    end
    return ids
end
local batches = {}
if redis.call('EXISTS', prioritized) == 1 then
    batches[1] = take(prioritized, redis.call('ZRANGEBYSCORE', prioritized, '-inf', '(0', 'LIMIT', 0, count))
    count = count - #batches[1]
end
if count > 0 then
    local ids = redis.call('LPOP', waiting, count) or {}
    batches[#batches + 1] = ids
    count = count - #ids
end
if count > 0 and #batches > 1 then
    batches[#batches + 1] = take(prioritized, redis.call('ZRANGEBYSCORE', prioritized, '(0', '+inf', 'LIMIT', 0, count))
end

local leases = {}
for _, ids in ipairs(batches) do
    for _, id in ipairs(ids) do
        local job = job_family .. id
        local record = redis.pcall('HMGET', job, 'delivery', 'name', 'payload', 'options', 'attempts', 'lost',
            'enqueued_at_ms', 'trace', 'idempotency_key', 'state', 'ready_at_ms')
        if record.err or record[10] ~= 'waiting' or not record[2] then
            redis.call('ZADD', corrupt, now, id)
        else
            local delivery = (record[1] or 0) + 1
            redis.call('HSET', job, 'state', 'active', 'delivery', delivery, 'worker', worker, 'fetched_at_ms', now,
                'waited_ms', math.max(0, now - (record[11] or record[7])))
            leases[#leases + 1] = now + lease_ms
            leases[#leases + 1] = id
            result[#result + 1] = {id, delivery, record[2], record[3], record[4], record[5], record[6],
                record[7], record[8], record[9]}
        end
    end
end
if #leases > 0 then
    redis.call('ZADD', active, unpack(leases))
    if rate_count > 0 then
        local handed = #leases / 2
        if redis.call('INCRBY', rate, handed) == handed then
            redis.call('PEXPIRE', rate, rate_period_ms)
        end
    end
    -- There may be more than this worker took: let the next idle one know.
    if redis.call('LLEN', wake) == 0 and (redis.call('EXISTS', waiting, prioritized) > 0) then
        redis.call('RPUSH', wake, '1')
    end
end
return result
