#!lua flags=allow-oom
-- Take back jobs whose lease ran out: each to its old place in the order, as if it had never left. One that has
-- cost too many workers their life is handed to the caller instead, under a short lease of its own, to be dead-lettered.
--
-- KEYS[1]  active       zset
-- KEYS[2]  waiting      list
-- KEYS[3]  prioritized  zset
-- KEYS[4]  wake         list
-- KEYS[5]  audit        stream
-- KEYS[6]  corrupt      zset
-- KEYS[7]  job family   hash each
-- KEYS[8]  totals       hash
-- ARGV[1]  count        at most so many
-- ARGV[2]  lost_limit   worker deaths that a job may cause
-- ARGV[3]  lease_ms     of a job handed to the caller
-- ARGV[4]  worker       the caller
-- Returns  {how many went back, then per doomed job {id, delivery, worker that died last}}

local active, waiting, prioritized, wake, audit = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local corrupt, job_family, totals = KEYS[6], KEYS[7], KEYS[8]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include turns
--@include turn_of
--@include returning

local result, returned = {0}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', active, '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))) do
    local job = job_family .. id
    local record = redis.pcall('HMGET', job, 'state', 'delivery', 'name', 'trace', 'lost', 'worker', 'marked_delivery',
        'attempts', 'waited_ms', 'priority')
    if record.err or record[1] ~= 'active' then
        redis.call('ZREM', active, id)
        redis.call('ZADD', corrupt, now, id)
    else
        local lost = tonumber(record[5] or 0)
        -- From the second hand-over on a worker says when it begins; one that had not begun is no suspect.
        if lost == 0 or record[7] == record[2] then
            lost = lost + 1
        end
        local delivery = record[2] + 1
        redis.call('XADD', audit, '*', 'action', 'job.lost', 'job_id', id, 'job_name', record[3],
            'actor', record[6], 'trace_id', record[4], 'attempt', (record[8] or 0) + 1, 'delivery', record[2],
            'waited_ms', record[9] or 0)
        redis.call('HINCRBY', totals, record[3] .. '|lost', 1)
        if lost >= tonumber(ARGV[2]) then
            redis.call('HSET', job, 'lost', lost, 'delivery', delivery, 'worker', ARGV[4])
            redis.call('ZADD', active, now + tonumber(ARGV[3]), id)
            result[#result + 1] = {id, delivery, record[6]}
        else
            redis.call('HSET', job, 'lost', lost, 'state', 'waiting')
            redis.call('ZREM', active, id)
            returned[#returned + 1] = {id = id, priority = record[10], turn = turn_of(job)}
        end
    end
end
put_back(returned)
result[1] = #returned
if #returned > 0 and redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return result
