#!lua flags=no-writes
-- Part of what waits, in the order of hand-out, with some fields of each record: what comes after an entry, named by where it
-- stands (see the part `turns`) and its id. What is handed out meanwhile shifts nothing.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  job family    hash each
-- ARGV[1]  after score   '' begins at the beginning
-- ARGV[2]  after id
-- ARGV[3]  count         at most so many
-- ARGV[4+] fields
-- Returns  {how many wait, how many of them stand before this part, then per job {id, score, a value per field (nil for
--          none)}}

local waiting, prioritized, job_family = KEYS[1], KEYS[2], KEYS[3]
local after_score, after_id, count = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

--@include turns
--@include turn_of

-- So many records in a row that do not say where they stand are passed over.
local DAMAGED_LIMIT = 100
local new_count = redis.call('LLEN', waiting)

-- Where a new job stands; nil where its record does not say.
local function score_of(id)
    local turn = turn_of(job_family .. id)
    return turn > 0 and score(0, turn) or nil
end

-- How many of the new ones stand before the first that comes after `after_score`. Their turns rise along the list, and who
-- does not say where it stands is with the one before it. Where `after_id` is one of these, or stands among too many of
-- them, it is looked for from the head; then its place is the second answer.
local function new_before()
    local from, to, is_unsure = 0, new_count, not score_of(after_id)
    for _ = 1, new_count > 0 and 1 + math.log(new_count) / math.log(2) or 0 do
        local middle = math.floor((from + to) / 2)
        local found, at, stop = nil, middle, math.min(to, middle + DAMAGED_LIMIT)
        for next_at = middle, stop - 1 do
            if not found then
                found, at = score_of(redis.call('LINDEX', waiting, next_at)), next_at + 1
            end
        end
        if found and found <= after_score then
            from = at
        else
            is_unsure = is_unsure or not found and stop < to
            to = middle
        end
    end
    local place = is_unsure and redis.call('LPOS', waiting, after_id)
    if place then
        return place + 1, place
    end
    -- Those beside the last of them came before an entry of the set that comes after it.
    if after_score >= 0 and redis.call('ZSCORE', prioritized, after_id) then
        for next_at = from, math.min(new_count, from + DAMAGED_LIMIT) - 1 do
            if score_of(redis.call('LINDEX', waiting, next_at)) then
                break
            end
            from = next_at + 1
        end
    end
    return from
end

-- The same of those in the set, where several may stand at one score. At the score of a new one they come before it.
local function back_before(is_after_new)
    if is_after_new then
        return redis.call('ZCOUNT', prioritized, '-inf', ARGV[1])
    end
    local from = redis.call('ZCOUNT', prioritized, '-inf', '(' .. ARGV[1])
    for at, id in ipairs(redis.call('ZRANGEBYSCORE', prioritized, ARGV[1], ARGV[1])) do
        if id == after_id then
            return from + at
        end
    end
    return from
end

local at_new, at_back = 0, 0
if after_score then
    local place
    at_new, place = new_before()
    at_back = back_before(place)
end
local result = {new_count + redis.call('ZCARD', prioritized), at_new + at_back}
local new = redis.call('LRANGE', waiting, at_new, at_new + count - 1)
local back = redis.call('ZRANGE', prioritized, at_back, at_back + count - 1, 'WITHSCORES')
local fields = {unpack(ARGV, 4)}
local next_new, next_back, last_score = 1, 1, math.max(0, after_score or 0)
for _ = 1, math.min(count, #new + #back / 2) do
    local id, place = new[next_new], nil
    if id then
        place = score_of(id) or last_score
    end
    if back[next_back] and (not id or tonumber(back[next_back + 1]) <= place) then
        id, place = back[next_back], tonumber(back[next_back + 1])
        next_back = next_back + 2
    else
        next_new = next_new + 1
        last_score = place
    end
    local entry = {id, string.format('%.17g', place)}
    local record = #fields > 0 and redis.pcall('HMGET', job_family .. id, unpack(fields)) or {}
    for at = 1, record.err and 0 or #fields do
        entry[at + 2] = record[at]
    end
    result[#result + 1] = entry
end
return result
