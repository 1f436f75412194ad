#!lua flags=allow-oom
-- Put a computed value in place, unless a newer one is there.
--
-- KEYS[1]  value       hash: made_at_ms, json
-- ARGV[1]  made_at_ms  when it was computed
-- ARGV[2]  ttl_ms
-- ARGV[3]  json
-- Returns  1 when it is in place; 0 when a newer one stays

local made_at_ms = redis.call('HGET', KEYS[1], 'made_at_ms')
if made_at_ms and tonumber(made_at_ms) > tonumber(ARGV[1]) then
    return 0
end
redis.call('HSET', KEYS[1], 'made_at_ms', ARGV[1], 'json', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
