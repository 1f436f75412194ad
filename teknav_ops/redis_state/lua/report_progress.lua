#!lua flags=allow-oom
-- Record how far an active job has come.
--
-- KEYS[1]  job   hash
-- ARGV[1]  delivery
-- ARGV[2]  fraction   0 to 1
-- ARGV[3]  note
-- Returns  1 written; 0 the job is no longer this worker's (nothing is written)

local job, delivery = KEYS[1], ARGV[1]
local record = redis.call('HMGET', job, 'state', 'delivery')
if record[1] ~= 'active' or record[2] ~= delivery then
    return 0
end
redis.call('HSET', job, 'progress', ARGV[2], 'progress_note', ARGV[3])
return 1
