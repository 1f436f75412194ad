#!lua flags=allow-oom
-- Decide that dead letters need no more work. Their jobs stay in the failed history while that lasts; their idempotency
-- keys are free again.
--
-- KEYS[1]  dlq                      zset
-- KEYS[2]  dlq record family        hash each
-- KEYS[3]  dlq type family          zset each
-- KEYS[4]  dlq fingerprint family   zset each
-- KEYS[5]  dlq groups               hash
-- KEYS[6]  failed                   zset
-- KEYS[7]  audit                    stream
-- KEYS[8]  job family               hash each
-- KEYS[9]  idempotency family       string each
-- ARGV[1]  actor
-- ARGV[2]  action    dlq.deleted or dlq.purged
-- ARGV[3+] ids
-- Returns  how many were there

local dlq, record_family, type_family, fingerprint_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local groups, failed, audit, job_family, idempotency_family = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local deleted = 0
for i = 3, #ARGV do
    local id = ARGV[i]
    if redis.call('ZREM', dlq, id) == 1 then
        local record = redis.call('HMGET', record_family .. id, 'errorType', 'fingerprint', 'jobName', 'traceId',
            'attemptsMade')
        local error_type, fingerprint = record[1] or '', record[2] or ''
        redis.call('ZREM', type_family .. error_type, id)
        redis.call('ZREM', fingerprint_family .. fingerprint, id)
        local group = error_type .. '|' .. fingerprint
        if redis.call('HINCRBY', groups, group, -1) <= 0 then
            redis.call('HDEL', groups, group)
        end
        redis.call('UNLINK', record_family .. id)
        -- A damaged record must not stop the rest.
        local key = redis.pcall('HGET', job_family .. id, 'idempotency_key')
        if type(key) == 'string' and redis.call('GET', idempotency_family .. key) == id then
            redis.call('UNLINK', idempotency_family .. key)
        end
        if not redis.call('ZSCORE', failed, id) then
            redis.call('UNLINK', job_family .. id)
        end
        redis.call('XADD', audit, '*', 'action', ARGV[2], 'job_id', id, 'job_name', record[3] or '',
            'actor', ARGV[1], 'trace_id', record[4] or '', 'attempt', record[5] or '', 'error_type', error_type, 'fingerprint', fingerprint)
        deleted = deleted + 1
    end
end
return deleted
