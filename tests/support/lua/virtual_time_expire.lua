-- Delete the keys that have ended by the virtual clock.
--
-- KEYS[1]  ends     zset: keys, scored by when they end (ms)
-- ARGV[1]  now_ms
-- Returns  how many ended
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
for _, key in ipairs(ended) do
    redis.call('ZREM', KEYS[1], key)
    redis.call('UNLINK', key)
end
return #ended
