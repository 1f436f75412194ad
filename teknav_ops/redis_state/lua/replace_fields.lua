#!lua flags=allow-oom
-- Write fields of a hash and drop others, as one step.
--
-- KEYS[1]  hash
-- ARGV[1]  how many fields are dropped
-- ARGV[2+] the dropped fields, then two per written one: field, value
-- Returns  1

local dropped_count = tonumber(ARGV[1])
for i = 2, dropped_count + 1 do
    redis.call('HDEL', KEYS[1], ARGV[i])
end
for i = dropped_count + 2, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
