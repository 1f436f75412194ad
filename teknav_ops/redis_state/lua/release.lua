#!lua flags=allow-oom
-- Shutdown: jobs that were handed out but not begun go back to their old place in the order.
--
-- KEYS[1]  active       zset
-- KEYS[2]  waiting      list
-- KEYS[3]  prioritized  zset
-- KEYS[4]  wake         list
-- KEYS[5]  job family   hash each
-- ARGV[1+] two per job: id, delivery
-- Returns  how many went back

local active, waiting, prioritized, wake, job_family = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- In `prioritized`: by priority, then by turn, in ms since 2020.
local function score(priority, turn)
    return (tonumber(priority) or 0) * 1099511627776 + math.max(0, turn - 1577836800000)
end
-- Records of earlier versions have no turn.
local function turn_of(id)
    local times = redis.pcall('HMGET', job_family .. id, 'turn', 'ready_at_ms', 'enqueued_at_ms')
    return not times.err and tonumber(times[1] or times[2] or times[3]) or 0
end
-- The newest first, so that those without a priority can each go before the head of the list.
local function put_back(jobs)
    table.sort(jobs, function(one, other) return one.turn > other.turn end)
    local head = redis.call('LINDEX', waiting, 0)
    local head_turn = head and turn_of(head) or math.huge
    for _, job in ipairs(jobs) do
        -- A turn without a fraction fell due, and may be another's too: the set knows their order.
        if not job.priority and job.turn % 1 > 0 and job.turn < head_turn then
            redis.call('LPUSH', waiting, job.id)
            head_turn = job.turn
        else
            redis.call('ZADD', prioritized, score(job.priority, job.turn), job.id)
        end
    end
end

local released = {}
for i = 1, #ARGV, 2 do
    local id = ARGV[i]
    local record = redis.call('HMGET', job_family .. id, 'state', 'delivery', 'priority')
    if record[1] == 'active' and record[2] == ARGV[i + 1] then
        redis.call('HSET', job_family .. id, 'state', 'waiting')
        redis.call('ZREM', active, id)
        released[#released + 1] = {id = id, priority = record[3], turn = turn_of(id)}
    end
end
put_back(released)
if #released > 0 and redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, '1')
end
return #released
