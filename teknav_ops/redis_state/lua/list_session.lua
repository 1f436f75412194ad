#!lua flags=allow-oom
-- Put a session on the list of what ends with its user. Ended ones leave the list; the first to end of too many are
-- named to the caller, and stay listed until it has ended them: this answer may be lost. The new one is never named.
--
-- KEYS[1]  user sessions  zset
-- ARGV[1]  session id
-- ARGV[2]  longest_ms  it ends after so long in any case
-- ARGV[3]  kept_ms     how long any session may last
-- ARGV[4]  most        more than so many are too many
-- Returns  the sessions that are too many; the caller ends them and takes them off the list

local listed, longest_ms, most = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', listed, now + longest_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', listed, '-inf', now)
redis.call('PEXPIRE', listed, ARGV[3])
local surplus, excess = {}, redis.call('ZCARD', listed) - most
for _, id in ipairs(excess > 0 and redis.call('ZRANGE', listed, 0, excess) or {}) do
    if id ~= ARGV[1] and #surplus < excess then
        surplus[#surplus + 1] = id
    end
end
return surplus
