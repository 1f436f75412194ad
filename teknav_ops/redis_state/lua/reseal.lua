#!lua flags=allow-oom
-- Put other texts in place of fields of a record, each only while the field holds what was read.
--
-- KEYS[1]  job  hash: its record, or its dead letter
-- ARGV[1+] three per field: its name, the text that was read, the new text
-- Returns  how many of the fields hold their new text now

local record = KEYS[1]
local count = 0
for i = 1, #ARGV, 3 do
    local held = redis.call('HGET', record, ARGV[i])
    if held == ARGV[i + 1] then
        redis.call('HSET', record, ARGV[i], ARGV[i + 2])
        held = ARGV[i + 2]
    end
    if held == ARGV[i + 2] then
        count = count + 1
    end
end
return count
