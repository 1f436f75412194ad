#!lua flags=allow-oom
-- Say that a run goes on long past its time limit, with where its thread is. Said before, or no longer this worker's: left out.
--
-- KEYS[1]  audit  stream
-- KEYS[2]  job    hash
-- ARGV[1]  worker
-- ARGV[2]  id
-- ARGV[3]  delivery
-- ARGV[4]  detail          one line
-- ARGV[5]  attempt record  JSON; that of the run's end will replace it
-- Returns  1 noted; 0 nothing is written

local audit, job = KEYS[1], KEYS[2]
local worker, id, delivery = ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('HMGET', job, 'state', 'delivery', 'name', 'trace', 'attempts', 'waited_ms', 'stuck_delivery')
if record[1] ~= 'active' or record[2] ~= delivery or record[7] == delivery then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include beginning
redis.call('HSET', job, 'stuck_delivery', delivery, 'stuck_at_ms', now, 'attempt:' .. delivery, ARGV[5])
redis.call('HDEL', job, 'attempt:' .. delivery - 20)
redis.call('XADD', audit, '*', 'action', 'job.stuck', 'job_id', id, 'job_name', record[3], 'actor', worker,
    'trace_id', record[4], 'attempt', (record[5] or 0) + 1, 'delivery', delivery, 'waited_ms', record[6] or 0,
    'detail', beginning(ARGV[4], 500))
return 1
