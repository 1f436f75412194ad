#!lua flags=allow-oom
-- Shutdown: jobs that were handed out but not begun go back to their old place in the order.
--
-- KEYS[1]  active       zset
-- KEYS[2]  waiting      list
-- KEYS[3]  prioritized  zset
-- KEYS[4]  wake         list
-- KEYS[5]  job family   hash each
-- ARGV[1+] two per job: id, delivery
-- Returns  how many went back

local active, waiting, prioritized, wake, job_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

--@include turns
--@include turn_of
--@include returning

local released = {}
for i = 1, #ARGV, 2 do
    local id = ARGV[i]
    local record = redis.call('HMGET', job_family .. id, 'state', 'delivery', 'priority')
    if record[1] == 'active' and record[2] == ARGV[i + 1] then
        redis.call('HSET', job_family .. id, 'state', 'waiting')
        redis.call('ZREM', active, id)
        released[#released + 1] = {id = id, priority = record[3], turn = turn_of(job_family .. id)}
    end
end
put_back(released)
if #released > 0 and redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return #released
