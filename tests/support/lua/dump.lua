-- Everything under a prefix, as JSON, in one round trip.
--
-- ARGV[1]  prefix
-- Returns  JSON: [[key, type, when it ends (ms, by the tests' clock or the server's; -1 never), content], ...]; a hash,
--          zset or stream as flat lists, as Redis answers
local readers = {
    string = function(key) return redis.call('GET', key) end,
    hash = function(key) return redis.call('HGETALL', key) end,
    list = function(key) return redis.call('LRANGE', key, 0, -1) end,
    set = function(key) return redis.call('SMEMBERS', key) end,
    zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
    stream = function(key) return redis.call('XRANGE', key, '-', '+') end,
}
local result = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    local kind = redis.call('TYPE', key).ok
    local ends_at = tonumber(redis.call('ZSCORE', 'test:clock:ends', key) or redis.call('PEXPIRETIME', key))
    result[#result + 1] = {key, kind, ends_at, readers[kind](key)}
end
return cjson.encode(result)
