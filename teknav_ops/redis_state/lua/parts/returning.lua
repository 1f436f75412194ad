-- Jobs that come back take their old place in the order. Included by scripts that have `waiting`, `prioritized`,
-- `job_family` and the parts `turns` and `turn_of`.

-- Each of `jobs` is {id, priority (nil for none), turn}. The newest first, so that those without a priority can each go
-- before the head of the list.
local function put_back(jobs)
    table.sort(jobs, function(one, other) return one.turn > other.turn end)
    local head = redis.call('LINDEX', waiting, 0)
    local head_turn = head and turn_of(job_family .. head) or math.huge
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
