-- Store.SwapAll: KEYS are the set of names of a kind of entries, and then entries; ARGV for each of those the tag that it must
-- have, the tag of the next one, the rest of that, and its name. Entries that have the next tags already were written by this
-- very call, whose first reply was lost.
local before, after, docs = 0, 0, #KEYS - 1
for i = 1, docs do
  local stored = redis.call('GET', KEYS[1 + i])
  local tag = stored and string.match(stored, '^[^\n]*') or ''
  if tag == ARGV[4 * i - 3] then before = before + 1 end
  if tag == ARGV[4 * i - 2] then after = after + 1 end
end
if after < docs then
  if before < docs then return {0, ''} end
  for i = 1, docs do
    redis.call('SET', KEYS[1 + i], ARGV[4 * i - 2] .. '\n' .. string.format('%.0f', now) .. '\n' .. ARGV[4 * i - 1])
    redis.call('ZADD', KEYS[1], 0, ARGV[4 * i])
  end
end
return {1, redis.call('GET', KEYS[2])}
