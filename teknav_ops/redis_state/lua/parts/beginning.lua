-- The beginning of a text, of so many bytes at most; a character that does not fit is left out whole.
local function beginning(text, most)
    local next_byte = text:byte(most + 1)
    while most > 0 and next_byte and next_byte >= 128 and next_byte < 192 do
        most = most - 1
        next_byte = text:byte(most + 1)
    end
    return text:sub(1, most)
end
