#!lua flags=allow-oom
-- Keep a short text for a while, on a full server too: who a worker is, what somebody needs who signs in.
--
-- KEYS[1]  value   string
-- ARGV[1]  text
-- ARGV[2]  ttl_ms
-- Returns  1

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
