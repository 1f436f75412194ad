#!lua flags=allow-oom
-- Take, keep or give back the right to run a batch replay: one runner at a time, whichever process it is in.
--
-- KEYS[1]  replay      hash
-- KEYS[2]  replay ids  list
-- ARGV[1]  runner
-- ARGV[2]  lease_ms    0 gives it back
-- ARGV[3]  kept_ms     how long the replay stays on record from now
-- Returns  'ours', or 'held' while another holds it, or the state in the way ('' when there is none)

local record = redis.call('HMGET', KEYS[1], 'state', 'runner', 'runner_until_ms')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if record[1] ~= 'running' then
    return record[1] or ''
elseif record[2] and record[2] ~= ARGV[1] and tonumber(record[3]) > now then
    return 'held'
elseif ARGV[2] == '0' then
    redis.call('HDEL', KEYS[1], 'runner', 'runner_until_ms')
else
    redis.call('HSET', KEYS[1], 'runner', ARGV[1], 'runner_until_ms', now + ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ours'
