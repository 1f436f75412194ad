#!lua flags=allow-oom
-- Tell events and move the cursor of the audit stream they were read from, as one step. A relay whose cursor
-- is not the one on record was overtaken, or had told them already: nothing is written.
--
-- KEYS[1]  events    stream
-- KEYS[2]  cursors   hash
-- ARGV[1]  queue     '' for events that were not read from an audit stream; no cursor is looked at
-- ARGV[2]  from      cursor the caller began at ('' none yet)
-- ARGV[3]  to        id of the last audit entry it read
-- ARGV[4]  kept      about so many events stay in the stream
-- ARGV[5]  channel
-- ARGV[6+] events: JSON objects, to which their id is added
-- Returns  {1, ids of the events ...}; or {0, the cursor on record} and nothing is written

local stream, cursors = KEYS[1], KEYS[2]
local queue, kept, channel = ARGV[1], ARGV[4], ARGV[5]
if queue ~= '' then
    local current = redis.call('HGET', cursors, queue) or ''
    if current ~= ARGV[2] then
        return {0, current}
    end
    redis.call('HSET', cursors, queue, ARGV[3])
end
local result = {1}
for i = 6, #ARGV do
    local event = ARGV[i]
    local id = redis.call('XADD', stream, 'MAXLEN', '~', kept, '*', 'event', event)
    redis.call('PUBLISH', channel, '{"id":"' .. id .. '",' .. event:sub(2))
    result[#result + 1] = id
end
return result
