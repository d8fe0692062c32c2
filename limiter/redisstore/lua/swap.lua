-- Store.Swap: KEYS[1] is the document; ARGV the tag it must have, the tag of the next one, and the rest of that. A
-- document that has the next tag already was written by this very call, whose first reply was lost.
local stored = redis.call('GET', KEYS[1])
local tag = stored and string.match(stored, '^[^\n]*') or ''
if tag ~= ARGV[2] then
  if tag ~= ARGV[1] then return {0, stored or ''} end
  stored = ARGV[2] .. '\n' .. string.format('%.0f', now) .. '\n' .. ARGV[3]
  redis.call('SET', KEYS[1], stored)
end
return {1, stored}
