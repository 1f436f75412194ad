#!lua flags=allow-oom
-- Write into the audit trail that jobs have begun. A job noted before, or no longer this worker's, is left out.
--
-- KEYS[1]  audit        stream
-- KEYS[2]  job family   hash each
-- ARGV[1]  worker
-- ARGV[2+] two per job: id, delivery
-- Returns  how many were noted

local audit, job_family, worker = KEYS[1], KEYS[2], ARGV[1]
local noted = 0
for i = 2, #ARGV, 2 do
    local id, delivery = ARGV[i], ARGV[i + 1]
    local job = job_family .. id
    local record = redis.call('HMGET', job, 'state', 'delivery', 'name', 'trace', 'attempts', 'waited_ms', 'noted_delivery')
    if record[1] == 'active' and record[2] == delivery and record[7] ~= delivery then
        redis.call('HSET', job, 'noted_delivery', delivery)
        redis.call('XADD', audit, '*', 'action', 'job.started', 'job_id', id, 'job_name', record[3], 'actor', worker,
            'trace_id', record[4], 'attempt', (record[5] or 0) + 1, 'delivery', delivery, 'waited_ms', record[6] or 0)
        noted = noted + 1
    end
end
return noted
