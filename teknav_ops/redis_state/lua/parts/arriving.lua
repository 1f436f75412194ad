-- The turn of a job that becomes ready now. Included by scripts that have `last_turn` and `now`, in ms; who gave a
-- turn stores `latest` there.

local latest = tonumber(redis.call('GET', last_turn) or 0)

-- What arrives in one millisecond is told apart by a fraction of it. A latest turn that is far ahead is one of before the
-- clock was set back.
local function arrive()
    if latest > now + 60000 then
        latest = 0
    end
    latest = math.max(latest, now) + 1 / 512
    return latest
end
