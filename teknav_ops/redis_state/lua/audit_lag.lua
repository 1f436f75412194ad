#!lua flags=no-writes
-- How far AuditLog is behind a queue's audit stream.
--
-- KEYS[1]  audit   stream
-- Returns  {entries not yet in AuditLog, age of the oldest in ms (0 when there is none)}

local audit = KEYS[1]
local oldest = redis.call('XRANGE', audit, '-', '+', 'COUNT', 1)[1]
if not oldest then
    return {0, 0}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {redis.call('XLEN', audit), math.max(0, now - tonumber(string.match(oldest[1], '^%d+')))}
