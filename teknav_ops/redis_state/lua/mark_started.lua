#!lua flags=allow-oom
-- Say that a job which has already outlived a worker is being run now.
--
-- KEYS[1]  job   hash
-- ARGV[1]  delivery
-- Returns  1 if the delivery is current; 0 if the job is no longer this worker's (nothing is written)

local job, delivery = KEYS[1], ARGV[1]
local record = redis.call('HMGET', job, 'state', 'delivery')
if record[1] ~= 'active' or record[2] ~= delivery then
    return 0
end
redis.call('HSET', job, 'marked_delivery', delivery)
return 1
