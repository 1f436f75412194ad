#!lua flags=allow-oom
-- Hand out up to n waiting jobs under a new lease, after moving due delayed jobs to waiting.
-- A paused queue ripens but hands out nothing; global concurrency and the rate limit are kept here.
-- The order is priority, then turn, which is when a job was ready. `waiting` holds new jobs without a priority, `prioritized` all others.
-- The most urgent may be the last that fell due: while more is due than one call moves, nothing is handed out.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  delayed       zset
-- KEYS[4]  active        zset
-- KEYS[5]  wake          list
-- KEYS[6]  control       hash
-- KEYS[7]  handed out    zset: when (ms), by how many there had been by then
-- KEYS[8]  corrupt       zset
-- KEYS[9]  job family    hash each
-- ARGV[1]  count                at most so many
-- ARGV[2]  lease_ms
-- ARGV[3]  worker
-- ARGV[4]  global_concurrency   the topology's; 0 for none
-- ARGV[5]  rate_count           the topology's; 0 for none
-- ARGV[6]  rate_period_ms
-- ARGV[7]  suspect_losses       a job that was lost so often is a suspect
-- ARGV[8]  suspects             at most so many of these; others stay in their place, and who stands behind goes past
-- ARGV[9]  ripen_count          due jobs that one call moves, at most
-- Returns  {look again in ms or -1, concurrency override or '', is limited globally,
--          then per job {id, delivery, name, payload, options, attempts, lost, enqueued_at_ms, trace,
--          idempotency_key, away, throttled, ms since it was first throttled}}

local waiting, prioritized, delayed, active, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local control, handed_out, corrupt, job_family = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local count, lease_ms, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local suspect_losses, suspects = tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

--@include turns
--@include turn_of
--@include returning

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[9]))
local ripe, places = {}, {}
for i = 1, #due, 2 do
    local job = job_family .. due[i]
    local priority = redis.pcall('HGET', job, 'priority')
    redis.pcall('HSET', job, 'state', 'waiting')
    ripe[#ripe + 1] = due[i]
    places[#places + 1] = score(type(priority) == 'string' and priority, due[i + 1])
    places[#places + 1] = due[i]
end
if #ripe > 0 then
    redis.call('ZREM', delayed, unpack(ripe))
    redis.call('ZADD', prioritized, unpack(places))
end
local look_again = -1
local next_due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
if next_due then
    look_again = math.max(0, next_due - now)
end

local settings = redis.call('HMGET', control, 'paused', 'concurrency', 'global_concurrency', 'rate_count', 'rate_period_ms')
local concurrency = settings[2] or ''
local global = tonumber(settings[3] or ARGV[4])
local rate_count = tonumber(settings[4] or ARGV[5])
local rate_period_ms = tonumber(settings[5] or ARGV[6])
local result = {look_again, concurrency, (global > 0 or rate_count > 0) and 1 or 0}
if settings[1] or look_again == 0 then
    return result
end

local longest_ms = math.max(rate_period_ms, 86400000)
local handed = 0

-- How many of the next `wanted` jobs may go: no window holds more than the limit, so the first may go when the one
-- that went `rate_count` before it has left the window, and so on. Also says in how many ms the first may go.
local function left_of_rate(wanted)
    local newest = redis.call('ZRANGE', handed_out, -1, -1, 'WITHSCORES')
    handed = tonumber(newest[2] or 0)
    if newest[1] and tonumber(newest[1]) > now then
        -- The clock was set back: as if all had gone just now, which is forgotten after one period.
        redis.call('DEL', handed_out)
        redis.call('ZADD', handed_out, handed, now)
        redis.call('PEXPIRE', handed_out, longest_ms)
    end
    local forgotten = handed - rate_count
    local left = math.max(0, -forgotten)
    if left >= wanted then
        return left, 0
    end
    local next_out = redis.call('ZRANGEBYSCORE', handed_out, '(' .. forgotten, '+inf', 'WITHSCORES', 'LIMIT', 0, wanted)
    for i = 1, #next_out, 2 do
        if tonumber(next_out[i]) > now - rate_period_ms then
            break
        end
        left = next_out[i + 1] - forgotten
    end
    return left, next_out[1] and next_out[1] + rate_period_ms - now or 0
end

-- Any limit may be set next, so all of the longest period counts. Where that is thousands of moments, those of one
-- span of time become its last: a job leaves the window late by less than 1/64 of its age, and never early.
local function remember(taken)
    redis.call('ZADD', handed_out, handed + taken, now)
    redis.call('PEXPIRE', handed_out, longest_ms)
    if redis.call('ZCARD', handed_out) <= 4096 then
        return
    end
    local kept, dropped = now, {}
    local moments = redis.call('ZRANGE', handed_out, 0, -2)
    for i = #moments, 1, -1 do
        local at = tonumber(moments[i])
        local _, exponent = math.frexp(math.max(1, (now - at) / 64))
        -- Powers of two that are aligned: what is of one span now is of one in all later ones.
        local span = 2 ^ (exponent - 1)
        if math.floor(at / span) == math.floor(kept / span) or kept < now - longest_ms then
            dropped[#dropped + 1] = moments[i]
        else
            kept = at
        end
    end
    for first = 1, #dropped, 1000 do
        redis.call('ZREM', handed_out, unpack(dropped, first, math.min(first + 999, #dropped)))
    end
end

if global > 0 then
    count = math.min(count, global - redis.call('ZCARD', active))
end
if rate_count > 0 then
    local left, reset_ms = left_of_rate(math.max(1, count))
    if left <= 0 then
        result[1] = look_again < 0 and reset_ms or math.min(look_again, reset_ms)
    end
    count = math.min(count, left)
end
if count <= 0 then
    return result
end

-- Off the front of the order, at most `most`; each of these adds to `ids`.
local function take_prioritized(ids, most, from, to)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', prioritized, from, to, 'LIMIT', 0, most - #ids)) do
        redis.call('ZREM', prioritized, id)
        ids[#ids + 1] = id
    end
end
local function take_waiting(ids, most)
    for _, id in ipairs(most > #ids and redis.call('LPOP', waiting, most - #ids) or {}) do
        ids[#ids + 1] = id
    end
end
-- Those of priority 0 that fell due or came back, and the new ones, in one order.
local function take_merged(ids, most)
    local room = most - #ids
    local back = redis.call('ZRANGEBYSCORE', prioritized, 0, '(' .. PRIORITY_STEP, 'WITHSCORES', 'LIMIT', 0, room)
    if #back == 0 then
        return take_waiting(ids, most)
    end
    local new = redis.call('LRANGE', waiting, 0, room - 1)
    local next_back, next_new, turn = 1, 1, nil
    for _ = 1, math.min(room, #back / 2 + #new) do
        if new[next_new] and back[next_back] then
            turn = turn or score(0, turn_of(job_family .. new[next_new]))
        end
        if back[next_back] and (not new[next_new] or tonumber(back[next_back + 1]) <= turn) then
            redis.call('ZREM', prioritized, back[next_back])
            ids[#ids + 1] = back[next_back]
            next_back = next_back + 2
        else
            ids[#ids + 1] = new[next_new]
            next_new, turn = next_new + 1, nil
        end
    end
    if next_new > 1 then
        redis.call('LPOP', waiting, next_new - 1)
    end
end
local function take(most)
    local ids = {}
    if redis.call('EXISTS', prioritized) == 0 then
        take_waiting(ids, most)
    else
        take_prioritized(ids, most, '-inf', '(0')
        take_merged(ids, most)
        take_prioritized(ids, most, PRIORITY_STEP, '+inf')
    end
    return ids
end

local leases, passed = {}, {}
local function hand_out(id)
    local job = job_family .. id
    local record = redis.pcall('HMGET', job, 'delivery', 'name', 'payload', 'options', 'attempts', 'lost',
        'enqueued_at_ms', 'trace', 'idempotency_key', 'state', 'ready_at_ms', 'away', 'throttled', 'throttled_since_ms', 'priority')
    if record.err or record[10] ~= 'waiting' or not record[2] then
        redis.call('ZADD', corrupt, now, id)
        return
    end
    if (tonumber(record[6]) or 0) >= suspect_losses then
        if suspects <= 0 then
            passed[#passed + 1] = {id = id, priority = record[15], turn = turn_of(job)}
            return
        end
        suspects = suspects - 1
    end
    local delivery = (record[1] or 0) + 1
    redis.call('HSET', job, 'state', 'active', 'delivery', delivery, 'worker', worker, 'fetched_at_ms', now,
        'waited_ms', math.max(0, now - (tonumber(record[11] or record[7]) or now)))
    leases[#leases + 1] = now + lease_ms
    leases[#leases + 1] = id
    result[#result + 1] = {id, delivery, record[2], record[3], record[4], record[5], record[6],
        record[7], record[8], record[9], record[12], record[13], record[14] and math.max(0, now - record[14])}
end

-- Anew for as many as were passed. Suspects are what a few workers' deaths left: rounds are few.
for _ = 1, 500 do
    local ids = take(count - #leases / 2)
    local passed_before = #passed
    for _, id in ipairs(ids) do
        hand_out(id)
    end
    if #passed == passed_before then
        break
    end
end
if #passed > 0 then
    put_back(passed)
end
if #leases > 0 then
    redis.call('ZADD', active, unpack(leases))
    if rate_count > 0 then
        remember(#leases / 2)
    end
    -- There may be more than this worker took: let the next idle one know.
    if redis.call('LLEN', wake) == 0 and (redis.call('EXISTS', waiting, prioritized) > 0) then
        redis.call('RPUSH', wake, '1')
    end
end
return result
