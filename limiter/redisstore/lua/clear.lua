-- Store.Clear, some of it: KEYS are the set of names of a kind of entries, and then entries; ARGV a revision, and then
-- their names.
local gone = 0
for i = 2, #KEYS do
  local entry = redis.call('GET', KEYS[i])
  local generation = entry and string.match(entry, '^[^\n]*\n[^\n]*\n[^\n]*"generation":"(%d+)"')
  if generation and tonumber(generation) <= tonumber(ARGV[1]) then
    redis.call('UNLINK', KEYS[i])
    redis.call('ZREM', KEYS[1], ARGV[i])
    gone = gone + 1
  end
end
return gone
