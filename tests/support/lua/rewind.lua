-- Keep what the database holds, or put it back as it was kept.
--
-- ARGV[1]  keep or rewind
-- Returns  how many keys
local keeps = ARGV[1] == 'keep'
local kept = 0
for _, key in ipairs(redis.call('KEYS', '*')) do
    local is_kept = key:sub(1, 5) == 'kept:'
    if keeps and is_kept or not keeps and not is_kept then
        redis.call('DEL', key)
    end
end
for _, key in ipairs(redis.call('KEYS', '*')) do
    redis.call('COPY', key, keeps and 'kept:' .. key or key:sub(6))
    kept = kept + 1
end
return kept
