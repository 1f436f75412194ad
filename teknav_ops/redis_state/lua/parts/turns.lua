-- The order of hand-out: by priority, then by turn, which is when a job was ready.

local PRIORITY_STEP, YEAR_2020_MS = 1099511627776, 1577836800000

-- Where a job stands in `prioritized`: turns count from 2020, so that a priority is more than any of them.
local function score(priority, turn_ms)
    return (tonumber(priority) or 0) * PRIORITY_STEP + math.max(0, turn_ms - YEAR_2020_MS)
end
