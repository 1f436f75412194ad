local redis = (function(real)
    -- Put before each script by tests/support/virtual_time.py: the script sees the test's clock, not the server's.
    -- Keys that expire do so by that clock too (`expire.lua`), and stream ids are made from it.
    local clock, ends = 'test:clock', 'test:clock:ends'
    local function now_us()
        local time = real.call('HMGET', clock, 'seconds', 'microseconds')
        if not time[1] then
            error('the virtual clock was lost: who empties the server must call clock.set() again')
        end
        return time[1] * 1000000 + time[2], time
    end
    local function now_ms()
        return math.floor(now_us() / 1000)
    end
    local function ends_at(key, at_ms)
        real.call('ZADD', ends, at_ms, key)
        real.call('PERSIST', key)
    end
    local function set(command, key, value, option, number)
        local answer = real.call(command, key, value)
        if option == 'PX' then
            ends_at(key, now_ms() + number)
        elseif option == 'PXAT' then
            ends_at(key, number)
        elseif option then
            error('virtual_time.lua does not know SET ' .. option)
        else
            real.call('ZREM', ends, key)
        end
        return answer
    end
    local function expire(command, key, number, option)
        local is_set = real.call('ZSCORE', ends, key)
        if real.call('EXISTS', key) == 0 or option == 'NX' and is_set then
            return 0
        end
        ends_at(key, now_ms() + number * (command == 'EXPIRE' and 1000 or 1))
        return 1
    end
    local function pttl(_, key)
        local at_ms = real.call('ZSCORE', ends, key)
        return at_ms and at_ms - now_ms() or real.call('PTTL', key)
    end
    local function delete(command, ...)
        real.call('ZREM', ends, ...)
        return real.call(command, ...)
    end
    local function xadd(command, key, ...)
        local arguments, newest = {...}, tonumber(real.call('HGET', clock, key) or 0)
        for i, argument in ipairs(arguments) do
            if argument == '*' then
                -- As a server does whose clock stepped back: never below the newest id.
                newest = math.max(newest, now_ms())
                arguments[i] = string.format('%.0f', newest) .. '-*'
                break
            end
        end
        real.call('HSET', clock, key, newest)
        return real.call(command, key, unpack(arguments))
    end
    local function time()
        local _, parts = now_us()
        return parts
    end
    local virtual = {TIME = time, SET = set, EXPIRE = expire, PEXPIRE = expire, PTTL = pttl, DEL = delete,
        UNLINK = delete, XADD = xadd}
    local function through(how)
        return function(command, ...)
            local replaced = virtual[command]
            if replaced then
                return replaced(command, ...)
            end
            return how(command, ...)
        end
    end
    return setmetatable({call = through(real.call), pcall = through(real.pcall)}, {__index = real})
end)(redis)
