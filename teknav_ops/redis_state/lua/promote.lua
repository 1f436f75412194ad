#!lua flags=allow-oom
-- Let a delayed job run now.
--
-- KEYS[1]  delayed       zset
-- KEYS[2]  waiting       list
-- KEYS[3]  prioritized   zset
-- KEYS[4]  last turn     string
-- KEYS[5]  wake          list
-- KEYS[6]  audit         stream
-- KEYS[7]  job           hash
-- ARGV[1]  id
-- ARGV[2]  actor
-- Returns  'promoted', or the state that does not allow it ('' for no such job; nothing is written)

local delayed, waiting, prioritized, last_turn, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local audit, job, id, actor = KEYS[6], KEYS[7], ARGV[1], ARGV[2]
local record = redis.call('HMGET', job, 'state', 'name', 'trace', 'priority')
if record[1] ~= 'delayed' then
    return record[1] or ''
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
--@include turns
--@include arriving

local turn = arrive()
redis.call('SET', last_turn, latest)
redis.call('ZREM', delayed, id)
redis.call('HSET', job, 'state', 'waiting', 'ready_at_ms', now, 'turn', turn)
if record[4] then
    redis.call('ZADD', prioritized, score(record[4], turn), id)
else
    redis.call('RPUSH', waiting, id)
end
redis.call('XADD', audit, '*', 'action', 'job.promoted', 'job_id', id, 'job_name', record[2], 'actor', actor,
    'trace_id', record[3])
if redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return 'promoted'
