#!lua flags=no-writes
-- How full the server is that holds a queue. A script, since in a Cluster the keys say which server that is.
--
-- KEYS[1]  waiting  list; any key of the queue
-- Returns  {used_memory, maxmemory} in bytes; maxmemory is 0 where no limit is set

local _ = KEYS[1] -- only says where the script runs
local facts = redis.call('INFO', 'memory')
return {tonumber(string.match(facts, 'used_memory:(%d+)')), tonumber(string.match(facts, 'maxmemory:(%d+)'))}
