-- How many jobs are in each state, at one instant.
--
-- KEYS[1]  waiting       list
-- KEYS[2]  prioritized   zset
-- KEYS[3]  active        zset
-- KEYS[4]  delayed       zset
-- KEYS[5]  completed     zset
-- KEYS[6]  failed        zset
-- KEYS[7]  cancelled     zset
-- KEYS[8]  dlq           zset
-- KEYS[9]  corrupt       zset
-- KEYS[10] workers       zset
-- KEYS[11] control       hash
-- KEYS[12] audit         stream
-- ARGV[1]  heartbeat_ms  a worker silent for longer does not count
-- Returns  {waiting, active, delayed, completed, failed, cancelled, dlq, corrupt, workers, paused since,
--          concurrency, global_concurrency, rate_count, rate_period_ms, audit entries not yet in AuditLog}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local control = redis.call('HMGET', KEYS[11], 'paused', 'concurrency', 'global_concurrency', 'rate_count', 'rate_period_ms')
return {
    redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]),
    redis.call('ZCARD', KEYS[3]),
    redis.call('ZCARD', KEYS[4]),
    redis.call('ZCARD', KEYS[5]),
    redis.call('ZCARD', KEYS[6]),
    redis.call('ZCARD', KEYS[7]),
    redis.call('ZCARD', KEYS[8]),
    redis.call('ZCARD', KEYS[9]),
    redis.call('ZCOUNT', KEYS[10], now - tonumber(ARGV[1]), '+inf'),
    control[1] or '', control[2] or '', control[3] or '', control[4] or '', control[5] or '',
    redis.call('XLEN', KEYS[12]),
}
