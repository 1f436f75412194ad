#!lua flags=allow-oom
-- Shutdown: jobs that were handed out but not begun go back to the front, in their order.
--
-- KEYS[1]  active       zset
-- KEYS[2]  waiting      list
-- KEYS[3]  wake         list
-- KEYS[4]  job family   hash each
-- ARGV[1+] two per job, newest first: id, delivery
-- Returns  how many went back

local active, waiting, wake, job_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local released = 0
for i = 1, #ARGV, 2 do
    local id = ARGV[i]
    local record = redis.call('HMGET', job_family .. id, 'state', 'delivery')
    if record[1] == 'active' and record[2] == ARGV[i + 1] then
        redis.call('HSET', job_family .. id, 'state', 'waiting')
        redis.call('ZREM', active, id)
        redis.call('LPUSH', waiting, id)
        released = released + 1
    end
end
if released > 0 and redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return released
