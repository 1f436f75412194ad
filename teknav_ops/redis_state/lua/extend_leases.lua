#!lua flags=allow-oom
-- A worker process's heartbeat: keep its leases, and learn which it has lost.
--
-- KEYS[1]  active       zset
-- KEYS[2]  workers      zset
-- KEYS[3]  job family   hash each
-- ARGV[1]  worker
-- ARGV[2]  lease_ms
-- ARGV[3+] two per job: id, delivery
-- Returns  {now in ms, the ids that this worker no longer holds}

local active, workers, job_family = KEYS[1], KEYS[2], KEYS[3]
local worker, lease_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local lost = {}
for i = 3, #ARGV, 2 do
    local record = redis.call('HMGET', job_family .. ARGV[i], 'delivery', 'state')
    if record[1] == ARGV[i + 1] and record[2] == 'active' then
        redis.call('ZADD', active, now + lease_ms, ARGV[i])
    else
        lost[#lost + 1] = ARGV[i]
    end
end
redis.call('ZADD', workers, now, worker)
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now - 20 * lease_ms)
return {now, lost}
