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
-- A job's turn is when it was ready; what arrives in one millisecond is told apart by a fraction of it.
local latest = tonumber(redis.call('GET', last_turn) or 0)
if latest > now + 60000 then
    latest = 0 -- the clock was set back
end
local function arrive()
    latest = math.max(latest, now) + 1 / 512
    return latest
end
-- In `prioritized`: by priority, then by turn, in ms since 2020.
local function score(priority, turn)
    return (tonumber(priority) or 0) * 1099511627776 + math.max(0, turn - 1577836800000)
end

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
