#!lua flags=allow-oom
-- Take, renew or release the lease of a role. Each taking begins a new term.
--
-- KEYS[1]  lease     string
-- KEYS[2]  term      string: how often the role was taken; fences off a leader that was overtaken
-- ARGV[1]  holder    who asks
-- ARGV[2]  lease_ms
-- ARGV[3]  wish      renew or release
-- Returns  the term (at least 1) while the caller holds the lease, or has just released it; 0 while another does

local lease, term, holder, lease_ms, wish = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local current = redis.call('GET', lease)
if current and current ~= holder then
    return 0
end
if wish == 'release' then
    redis.call('DEL', lease)
    return tonumber(redis.call('GET', term) or 1)
end
redis.call('SET', lease, holder, 'PX', lease_ms)
if current then
    return tonumber(redis.call('GET', term) or redis.call('INCR', term))
end
return redis.call('INCR', term)
