#!lua flags=allow-oom
-- Open a session, with its ends: after a pause, and whatever is done in it.
--
-- KEYS[1]  session     hash
-- ARGV[1]  idle_ms     it ends after so long without use
-- ARGV[2]  longest_ms  it ends after so long in any case
-- ARGV[3+] field, value …
-- Returns  when it ends in any case, in ms since the epoch

local session, idle_ms, longest_ms = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', session, 'opened_at_ms', now, 'seen_at_ms', now, 'ends_at_ms', now + longest_ms,
    unpack(ARGV, 3))
redis.call('PEXPIRE', session, math.min(idle_ms, longest_ms))
return now + longest_ms
