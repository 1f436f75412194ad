-- Put a failed job back to wait with fresh attempts, and take its dead letter away, as one step.
-- The job keeps its id, its history and its idempotency key.
--
-- KEYS[1]  dlq                      zset
-- KEYS[2]  dlq record               hash
-- KEYS[3]  dlq type family          zset each
-- KEYS[4]  dlq fingerprint family   zset each
-- KEYS[5]  dlq groups               hash
-- KEYS[6]  failed                   zset
-- KEYS[7]  waiting                  list
-- KEYS[8]  wake                     list
-- KEYS[9]  audit                    stream
-- KEYS[10] job                      hash
-- ARGV[1]  id
-- ARGV[2]  actor
-- ARGV[3]  failed_at_ms   replay only the failure of that moment; '' for whichever there is
-- ARGV[4]  payload        to use instead; '' keeps the job's own
-- Returns  1 replayed; 0 not failed any more, or failed anew since (nothing is written)

local dlq, dlq_record, type_family, fingerprint_family, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local failed, waiting, wake, audit, job = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local id, actor, failed_at_ms, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local record = redis.call('HMGET', job, 'state', 'name', 'trace', 'error_type', 'fingerprint', 'finished_at_ms', 'payload')
if record[1] ~= 'failed' or (failed_at_ms ~= '' and failed_at_ms ~= record[6]) then
    return 0
end

local error_type, fingerprint = record[4] or '', record[5] or ''
if redis.call('ZREM', dlq, id) == 1 then
    redis.call('ZREM', type_family .. error_type, id)
    redis.call('ZREM', fingerprint_family .. fingerprint, id)
    local group = error_type .. '|' .. fingerprint
    if redis.call('HINCRBY', groups, group, -1) <= 0 then
        redis.call('HDEL', groups, group)
    end
    redis.call('UNLINK', dlq_record)
end
redis.call('ZREM', failed, id)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', job, 'state', 'waiting', 'ready_at_ms', now, 'attempts', 0, 'lost', 0)
redis.call('HINCRBY', job, 'replays', 1)
redis.call('HDEL', job, 'finished_at_ms', 'error_type', 'error', 'fingerprint', 'progress', 'progress_note')
if payload ~= '' then
    redis.call('HSET', job, 'payload', payload)
end
redis.call('RPUSH', waiting, id)
redis.call('XADD', audit, '*', 'action', 'job.replayed', 'job_id', id, 'job_name', record[2], 'actor', actor,
    'trace_id', record[3], 'error_type', error_type, 'fingerprint', fingerprint,
    'detail', payload ~= '' and ('payload before the edit: ' .. (record[7] or '')) or '')
if redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return 1
