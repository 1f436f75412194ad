#!lua flags=allow-oom
-- Publish a queue's stats, unless a leader of a later term did: who slept through its lease overwrites nobody.
-- Terms that are begun anew, because their counter was lost, are accepted once nothing fresh is there.
--
-- KEYS[1]  stats         string: JSON
-- ARGV[1]  term          the publisher's term as leader
-- ARGV[2]  publisher     who publishes
-- ARGV[3]  fresh_ms      younger stats are a living publisher's
-- ARGV[4]  expires_at_ms
-- ARGV[5]  json          with `term`, `publisher` and `lastUpdatedAt` (ms)
-- Returns  1 when they are in place; 0 when another's stay

local stats = KEYS[1]
-- What cannot be read, because it is damaged or of another version, is overwritten.
local stored = redis.pcall('GET', stats)
local is_json, present = pcall(cjson.decode, type(stored) == 'string' and stored or '')
if is_json and type(present) == 'table' and present.publisher ~= ARGV[2] then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local term, updated_at = tonumber(present.term), tonumber(present.lastUpdatedAt)
    -- A clock that stepped back makes stats of the future: nobody living wrote them.
    local is_fresh = updated_at and math.abs(now - updated_at) <= tonumber(ARGV[3])
    if term and is_fresh and term >= tonumber(ARGV[1]) then
        return 0
    end
end
redis.call('SET', stats, ARGV[5], 'PXAT', ARGV[4])
return 1
