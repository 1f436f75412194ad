-- Accept jobs: write each record and put it where it waits. A used idempotency key is refused; whether with the same
-- request is for the caller to see, since secrets are encrypted anew each time.
--
-- KEYS[1]  waiting            list
-- KEYS[2]  prioritized        zset
-- KEYS[3]  delayed            zset
-- KEYS[4]  wake               list
-- KEYS[5]  audit              stream
-- KEYS[6]  last turn          string
-- KEYS[7]  job family         hash each
-- KEYS[8]  idempotency family string each
-- KEYS[9]  minute family      hash each
-- KEYS[10] totals             hash
-- ARGV[1]  idempotency_ms     how long a key stays used
-- ARGV[2]  actor              who enqueues
-- ARGV[3+] eight per job: id, name, payload, options, idempotency key ('' none), delay_ms, priority, trace id
-- Returns  per job {status, id}: 1 accepted; 2 this very job had been accepted before; 0 the key is used,
--          and the id is the first job's; {0, id, name, payload} as they were enqueued while its record is kept

local waiting, prioritized, delayed, wake, audit, last_turn = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local job_family, idempotency_family, minute_family, totals = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local idempotency_ms, actor = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include turns
--@include arriving

local function first_request(id)
    local record = redis.pcall('HMGET', job_family .. id, 'name', 'payload', 'first_payload')
    if not record[1] or not record[2] then
        return {0, id}
    end
    return {0, id, record[1], record[3] or record[2]}
end

local results, accepted, ready = {}, 0, {}
for i = 3, #ARGV, 8 do
    local id, name, payload, options = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local key, delay_ms, priority, trace = ARGV[i + 4], tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]), ARGV[i + 7]
    local job = job_family .. id
    local first = key ~= '' and redis.call('GET', idempotency_family .. key)

    -- The key still names a job whose record was forgotten: its completion was long ago.
    if redis.call('EXISTS', job) == 1 or first == id then
        results[#results + 1] = {2, id}
    elseif first then
        results[#results + 1] = first_request(first)
    else
        local state = delay_ms > 0 and 'delayed' or 'waiting'
        local turn = delay_ms > 0 and now + delay_ms or arrive()
        redis.call('HSET', job, 'state', state, 'name', name, 'payload', payload, 'options', options,
            'trace', trace, 'enqueued_at_ms', now, 'turn', turn)
        if key ~= '' then
            redis.call('SET', idempotency_family .. key, id, 'PX', idempotency_ms)
            redis.call('HSET', job, 'idempotency_key', key)
        end
        if priority ~= 0 then
            redis.call('HSET', job, 'priority', priority)
        end
        if delay_ms > 0 then
            redis.call('HSET', job, 'due_at_ms', turn, 'ready_at_ms', turn)
            redis.call('ZADD', delayed, turn, id)
        elseif priority ~= 0 then
            redis.call('ZADD', prioritized, score(priority, turn), id)
        else
            ready[#ready + 1] = id
        end
        redis.call('XADD', audit, '*', 'action', 'job.enqueued', 'job_id', id, 'job_name', name,
            'actor', actor, 'trace_id', trace)
        accepted = accepted + 1
        results[#results + 1] = {1, id}
    end
end

for first = 1, #ready, 500 do
    redis.call('RPUSH', waiting, unpack(ready, first, math.min(first + 499, #ready)))
end
if accepted > 0 then
    redis.call('SET', last_turn, latest)
    local minute = minute_family .. math.floor(now / 60000)
    if redis.call('HINCRBY', minute, 'enqueued', accepted) == accepted then
        redis.call('EXPIRE', minute, 90000)
    end
    redis.call('HINCRBY', totals, 'enqueued', accepted)
    -- Delayed jobs wake too: a sleeping consumer must learn of an earlier due time.
    if redis.call('LLEN', wake) == 0 then
        redis.call('RPUSH', wake, '1')
    end
end
return results
