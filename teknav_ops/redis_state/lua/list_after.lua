#!lua flags=no-writes
-- Part of a sorted list of jobs or dead letters, with some fields of each record: what comes after an entry, named by its
-- score and id. Entries that come or go elsewhere shift nothing, so going on from there leaves none out.
--
-- KEYS[1]  listed          zset
-- KEYS[2]  record family   hash each
-- ARGV[1]  order        'up' or 'down', by score and then id
-- ARGV[2]  low          the least score, as ZCOUNT takes it
-- ARGV[3]  high         the largest score, as ZCOUNT takes it
-- ARGV[4]  after score  '' begins at the beginning
-- ARGV[5]  after id
-- ARGV[6]  count        at most so many
-- ARGV[7+] fields
-- Returns  {entries within low and high, how many of them stand before this part,
--          then per entry {id, score, a value per field (nil for none)}}

local listed, record_family = KEYS[1], KEYS[2]
local after_score, after_id, count = ARGV[4], ARGV[5], tonumber(ARGV[6])
local first = ARGV[2] == '-inf' and 0 or redis.call('ZCARD', listed) - redis.call('ZCOUNT', listed, ARGV[2], '+inf')
local last = first + redis.call('ZCOUNT', listed, ARGV[2], ARGV[3])

-- Ids in the order of sorted sets: Lua's own `<` follows the server's language.
local function compare(one, other)
    for i = 1, math.min(#one, #other) do
        if one:byte(i) ~= other:byte(i) then
            return one:byte(i) - other:byte(i)
        end
    end
    return #one - #other
end

-- How many entries stand before (score, id), or through it, whether or not it is still there.
local function count_until(is_through)
    local from = redis.call('ZCOUNT', listed, '-inf', '(' .. after_score)
    local to = redis.call('ZCOUNT', listed, '-inf', after_score)
    for _ = 1, from < to and 1 + math.log(to - from) / math.log(2) or 0 do
        local middle = math.floor((from + to) / 2)
        local order = from < to and compare(redis.call('ZRANGE', listed, middle, middle)[1], after_id)
        if order and (order < 0 or (is_through and order == 0)) then
            from = middle + 1
        else
            to = middle
        end
    end
    return from
end

local is_up = ARGV[1] == 'up'
local from, to = first, last
if after_score ~= '' and is_up then
    from = math.min(last, math.max(first, count_until(true)))
elseif after_score ~= '' then
    to = math.max(first, math.min(last, count_until(false)))
end
local result = {last - first, is_up and from - first or last - to}
if is_up then
    to = math.min(to, from + count)
else
    from = math.max(from, to - count)
end

local fields = {unpack(ARGV, 7)}
local found = from < to and redis.call('ZRANGE', listed, from, to - 1, 'WITHSCORES') or {}
for i = is_up and 1 or #found - 1, is_up and #found or 1, is_up and 2 or -2 do
    local entry = {found[i], found[i + 1]}
    -- A damaged record must not hide the others.
    local record = #fields > 0 and redis.pcall('HMGET', record_family .. found[i], unpack(fields)) or {}
    for at = 1, record.err and 0 or #fields do
        entry[at + 2] = record[at]
    end
    result[#result + 1] = entry
end
return result
