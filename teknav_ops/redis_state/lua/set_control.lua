#!lua flags=allow-oom
-- Change how a queue runs while it runs: pause, resume, concurrency, limits.
--
-- KEYS[1]  control   hash
-- KEYS[2]  wake      list
-- KEYS[3]  audit     stream
-- ARGV[1]  actor
-- ARGV[2]  action    queue.paused, queue.resumed or queue.configured
-- ARGV[3+] two per field: name, value ('' puts the topology's value back)
-- Returns  how many fields changed (0: nothing is written)

local control, wake, audit = KEYS[1], KEYS[2], KEYS[3]
local changed, detail = 0, {}
for i = 3, #ARGV, 2 do
    local field, value = ARGV[i], ARGV[i + 1]
    local current = redis.call('HGET', control, field) or ''
    if current ~= value then
        if value == '' then
            redis.call('HDEL', control, field)
        else
            redis.call('HSET', control, field, value)
        end
        changed = changed + 1
        detail[#detail + 1] = field .. ': ' .. current .. ' -> ' .. value
    end
end
if changed > 0 then
    redis.call('XADD', audit, '*', 'action', ARGV[2], 'actor', ARGV[1], 'detail', table.concat(detail, ', '))
    if redis.call('LLEN', wake) == 0 then
        redis.call('RPUSH', wake, '1')
    end
end
return changed
