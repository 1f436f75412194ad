-- What became of jobs that a batch replay put back, on the replay's own record and in the same step as the job's end.
-- Included by scripts that have `replay_family`. A replay that is no longer on record is told nothing.

local function settle(replay, outcome, count)
    if redis.call('EXISTS', replay_family .. replay) == 1 then
        redis.pcall('HINCRBY', replay_family .. replay, outcome, count)
    end
end
