#!lua flags=no-writes
-- How full the server is that holds a queue. A script, since in a Cluster the keys say which server that is.
--
-- KEYS[1]  waiting  list; any key of the queue
-- Returns  {run_id, used_memory, maxmemory}, the latter in bytes; maxmemory is 0 where no limit is set

local _ = KEYS[1] -- only says where the script runs
local memory = redis.call('INFO', 'memory')
return {
    string.match(redis.call('INFO', 'server'), 'run_id:(%w+)'),
    tonumber(string.match(memory, 'used_memory:(%d+)')),
    tonumber(string.match(memory, 'maxmemory:(%d+)')),
}
