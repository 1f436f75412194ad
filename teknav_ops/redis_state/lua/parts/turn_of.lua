-- The turn of a job on record: since when it waits its turn, in ms, with a fraction; 0 where its record is unreadable.

-- Records of earlier versions have no turn.
local function turn_of(job)
    local times = redis.pcall('HMGET', job, 'turn', 'ready_at_ms', 'enqueued_at_ms')
    return not times.err and tonumber(times[1] or times[2] or times[3]) or 0
end
