-- Take, renew or release the lease of a role.
--
-- KEYS[1]  lease     string
-- ARGV[1]  holder    who asks
-- ARGV[2]  lease_ms
-- ARGV[3]  wish      renew or release
-- Returns  1 when the caller holds the lease now (or has released it); 0 while another does

local lease, holder, lease_ms, wish = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local current = redis.call('GET', lease)
if current and current ~= holder then
    return 0
end
if wish == 'release' then
    redis.call('DEL', lease)
else
    redis.call('SET', lease, holder, 'PX', lease_ms)
end
return 1
