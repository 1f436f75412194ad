#!lua flags=allow-oom
-- Decide that dead letters need no more work. Their jobs stay in the failed history while that lasts; their idempotency
-- keys are free again. As part of a batch deletion its record counts them in the same step.
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
-- KEYS[10] deletion family          hash each
-- ARGV[1]  actor
-- ARGV[2]  action          dlq.deleted or dlq.purged
-- ARGV[3]  reason          into each audit entry; '' for none
-- ARGV[4]  batch deletion  its id; '' for none
-- ARGV[5+] two per dead letter: id, failed_at_ms (delete only the failure of that moment; '' for whichever there is)
-- Returns  how many were deleted, the others being gone, or failed anew since

local dlq, record_family, type_family, fingerprint_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local groups, failed, audit, job_family, idempotency_family = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local reason, record_of_batch = ARGV[3], KEYS[10] .. ARGV[4]
local deleted = 0

-- A damaged record must not stop the rest.
local function read(key, ...)
    local found = redis.pcall('HMGET', key, ...)
    return found.err and {} or found
end

for i = 5, #ARGV, 2 do
    local id, failed_at_ms = ARGV[i], ARGV[i + 1]
    local listed_at_ms = redis.call('ZSCORE', dlq, id)
    if listed_at_ms and (failed_at_ms == '' or tonumber(failed_at_ms) == tonumber(listed_at_ms)) then
        redis.call('ZREM', dlq, id)
        local record = read(record_family .. id, 'errorType', 'fingerprint', 'jobName', 'traceId', 'attemptsMade')
        local job = read(job_family .. id, 'error_type', 'fingerprint', 'idempotency_key')
        local error_type, fingerprint, key = record[1] or job[1] or '', record[2] or job[2] or '', job[3]
        redis.call('ZREM', type_family .. error_type, id)
        redis.call('ZREM', fingerprint_family .. fingerprint, id)
        local group = error_type .. '|' .. fingerprint
        if redis.call('HINCRBY', groups, group, -1) <= 0 then
            redis.call('HDEL', groups, group)
        end
        redis.call('UNLINK', record_family .. id)
        if key and redis.call('GET', idempotency_family .. key) == id then
            redis.call('UNLINK', idempotency_family .. key)
        end
        if not redis.call('ZSCORE', failed, id) then
            redis.call('UNLINK', job_family .. id)
        end
        redis.call('XADD', audit, '*', 'action', ARGV[2], 'job_id', id, 'job_name', record[3] or '',
            'actor', ARGV[1], 'trace_id', record[4] or '', 'attempt', record[5] or '', 'error_type', error_type, 'fingerprint', fingerprint,
            'detail', reason)
        deleted = deleted + 1
    end
end
-- A record that has run out must not come back without an end.
if ARGV[4] ~= '' and deleted > 0 and redis.call('EXISTS', record_of_batch) == 1 then
    redis.call('HINCRBY', record_of_batch, 'deleted', deleted)
end
return deleted
