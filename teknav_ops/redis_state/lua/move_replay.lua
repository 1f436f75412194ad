#!lua flags=allow-oom
-- Start, finish or abort a batch replay. Doing it again changes nothing.
--
-- KEYS[1]  replay           hash
-- KEYS[2]  replay ids       list
-- KEYS[3]  running replays  set
-- ARGV[1]  id
-- ARGV[2]  wanted   running, finished or aborted
-- ARGV[3]  by       who starts or aborts; the runner that finishes
-- ARGV[4]  rate     jobs per second; '' leaves what was set, and without that it runs as fast as it can
-- ARGV[5]  kept_ms  how long it stays on record from now
-- Returns  {state it is in, 1 when this call changed something}; state is '' when there is no such replay

local replay, wanted = KEYS[1], ARGV[2]
local record = redis.call('HMGET', replay, 'state', 'runner', 'rate')
local state = record[1] or ''
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local is_open = state == 'previewed' or state == 'running'
if wanted == 'running' then
    local is_new_rate = ARGV[4] ~= '' and ARGV[4] ~= record[3]
    if not is_open or (state == 'running' and not is_new_rate) then
        return {state, 0}
    end
    if is_new_rate then
        redis.call('HSET', replay, 'rate', ARGV[4])
    end
    if state == 'previewed' then
        redis.call('HSET', replay, 'state', wanted, 'started_by', ARGV[3], 'started_at_ms', now)
        redis.call('SADD', KEYS[3], ARGV[1])
    end
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
elseif wanted == 'aborted' and is_open or wanted == 'finished' and state == 'running' and record[2] == ARGV[3] then
    redis.call('HSET', replay, 'state', wanted, 'ended_at_ms', now)
    if wanted == 'aborted' then
        redis.call('HSET', replay, 'aborted_by', ARGV[3])
    end
    redis.call('SREM', KEYS[3], ARGV[1])
    redis.call('UNLINK', KEYS[2])
else
    return {state, 0}
end
redis.call('PEXPIRE', replay, ARGV[5])
return {wanted, 1}
