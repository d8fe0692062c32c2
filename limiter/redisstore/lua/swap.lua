-- Store.Swap: KEYS are the document and its history, or the set of names of its kind. ARGV: the tag that the document must
-- have, the tag of the next one, the rest of that ('' if nothing of it is kept), what the history is told of it ('' for an
-- entry) and how many bytes that counts for, how many of those are kept, and how many bytes; or, of an entry, its name. A
-- document that has the next tag already, or one that is gone already, was written by this very call, whose first reply was
-- lost.
local stored = redis.call('GET', KEYS[1])
local tag = stored and string.match(stored, '^[^\n]*') or ''
local rest, item = ARGV[3], ARGV[4]
if rest == '' and tag == '' then return {1, ''} end
if tag ~= ARGV[2] then
  if tag ~= ARGV[1] then return {0, stored or ''} end
  local at = string.format('%.0f', now) .. '\n'
  stored = ARGV[2] .. '\n' .. at .. rest
  if item ~= '' then
    -- Each begins with the bytes of all up to it, in place of a tag.
    local function bytes(i) return tonumber(string.match(redis.call('LINDEX', KEYS[2], i) or '', '^%d+')) or 0 end
    local all = bytes(0) + ARGV[5]
    redis.call('LPUSH', KEYS[2], string.format('%.0f', all) .. '\n' .. at .. item)
    redis.call('LTRIM', KEYS[2], 0, ARGV[6] - 1)
    while all - bytes(-1) >= tonumber(ARGV[7]) do redis.call('LTRIM', KEYS[2], 0, -2) end
  elseif rest == '' then
    redis.call('ZREM', KEYS[2], ARGV[5])
    redis.call('DEL', KEYS[1])
    return {1, ''}
  elseif tag == '' then
    redis.call('ZADD', KEYS[2], 0, ARGV[5])
  end
  redis.call('SET', KEYS[1], stored)
end
return {1, stored}
