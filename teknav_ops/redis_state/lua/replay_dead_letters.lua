#!lua flags=allow-oom
-- Put failed jobs back to wait with fresh attempts, and take their dead letters away, as one step.
-- Jobs keep their id, their history and their idempotency key, which they hold anew; where it is another job's now (that
-- of a deleted dead letter was free), the work is that job's, and the failed one is left alone. As part of a batch replay the batch's
-- progress moves in the same step, and only while its runner still holds it; a job whose dead letter somebody deleted since
-- the preview is left alone then: that needs no more work.
--
-- KEYS[1]  dlq                      zset
-- KEYS[2]  dlq record family        hash each
-- KEYS[3]  dlq type family          zset each
-- KEYS[4]  dlq fingerprint family   zset each
-- KEYS[5]  dlq groups               hash
-- KEYS[6]  failed                   zset
-- KEYS[7]  waiting                  list
-- KEYS[8]  prioritized              zset
-- KEYS[9]  last turn                string
-- KEYS[10] wake                     list
-- KEYS[11] audit                    stream
-- KEYS[12] job family               hash each
-- KEYS[13] replay family            hash each
-- KEYS[14] idempotency family       string each
-- ARGV[1]  actor
-- ARGV[2]  payload       to use instead; '' keeps each job's own
-- ARGV[3]  idempotency_ms  how long a key stays used
-- ARGV[4]  batch replay  its id; '' for none
-- ARGV[5]  runner        who runs the batch
-- ARGV[6]  position      how many of the batch had been done before
-- ARGV[7+] two per job: id, failed_at_ms (replay only the failure of that moment; '' for whichever there is)
-- Returns  how many were replayed, the others being not failed any more, failed anew since, deleted, or their key another's;
--          -1 when the batch is not the runner's to go on with (nothing is written)

local dlq, record_family, type_family, fingerprint_family, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local failed, waiting, prioritized, last_turn, wake = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local audit, job_family, replay_family, idempotency_family = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local actor, payload, idempotency_ms, batch = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if batch ~= '' then
    local progress = redis.call('HMGET', replay_family .. batch, 'state', 'runner', 'done')
    if progress[1] ~= 'running' or progress[2] ~= ARGV[5] or (progress[3] or '0') ~= ARGV[6] then
        return -1
    end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include turns
--@include arriving

local function take_letter(id, error_type, fingerprint)
    if redis.call('ZREM', dlq, id) == 1 then
        redis.call('ZREM', type_family .. error_type, id)
        redis.call('ZREM', fingerprint_family .. fingerprint, id)
        local group = error_type .. '|' .. fingerprint
        if redis.call('HINCRBY', groups, group, -1) <= 0 then
            redis.call('HDEL', groups, group)
        end
        redis.call('UNLINK', record_family .. id)
    end
end

local replayed, skipped = 0, {}
local function skip(why)
    skipped[why] = (skipped[why] or 0) + 1
end

for i = 7, #ARGV, 2 do
    local id, failed_at_ms = ARGV[i], ARGV[i + 1]
    local job = job_family .. id
    -- A damaged record must not stop the rest of a batch.
    local record = redis.pcall('HMGET', job, 'state', 'name', 'trace', 'error_type', 'fingerprint', 'finished_at_ms', 'payload',
        'attempts', 'priority', 'idempotency_key')
    local is_meant = not record.err and record[1] == 'failed' and (failed_at_ms == '' or failed_at_ms == record[6])
    local key = is_meant and record[10] and idempotency_family .. record[10]
    if key and (redis.call('GET', key) or id) ~= id then
        skip('key')
    elseif is_meant and batch ~= '' and not redis.call('ZSCORE', dlq, id) then
        skip('deleted')
    elseif is_meant then
        local error_type, fingerprint, turn = record[4] or '', record[5] or '', arrive()
        take_letter(id, error_type, fingerprint)
        redis.call('ZREM', failed, id)
        redis.call('HSET', job, 'state', 'waiting', 'ready_at_ms', now, 'turn', turn, 'attempts', 0, 'lost', 0)
        redis.call('HINCRBY', job, 'replays', 1)
        redis.call('HDEL', job, 'finished_at_ms', 'error_type', 'error', 'fingerprint', 'progress', 'progress_note',
            'away', 'throttled', 'throttled_since_ms')
        if payload ~= '' then
            redis.call('HSETNX', job, 'first_payload', record[7] or '')
            redis.call('HSET', job, 'payload', payload)
        end
        if record[9] then
            redis.call('ZADD', prioritized, score(record[9], turn), id)
        else
            redis.call('RPUSH', waiting, id)
        end
        redis.call('XADD', audit, '*', 'action', 'job.replayed', 'job_id', id, 'job_name', record[2] or '', 'actor', actor,
            'trace_id', record[3] or '', 'attempt', record[8] or '', 'error_type', error_type, 'fingerprint', fingerprint,
            'detail', payload ~= '' and ('payload before the edit: ' .. (record[7] or '')) or '')
        if key then
            redis.call('SET', key, id, 'PX', idempotency_ms)
        end
        if batch ~= '' then
            redis.call('HSET', job, 'replay', batch)
        end
        replayed = replayed + 1
    elseif record.err then
        skip('unreadable')
    elseif not record[1] then
        skip('gone')
    else
        skip(record[1] == 'failed' and 'anew' or 'other')
    end
end

if replayed > 0 then
    redis.call('SET', last_turn, latest)
end
if batch ~= '' then
    redis.call('HINCRBY', replay_family .. batch, 'done', (#ARGV - 6) / 2)
    redis.call('HINCRBY', replay_family .. batch, 'replayed', replayed)
    for why, count in pairs(skipped) do
        redis.call('HINCRBY', replay_family .. batch, 'skipped:' .. why, count)
    end
end
if replayed > 0 and redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return replayed
