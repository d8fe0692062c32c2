-- Store.History: KEYS[1] is the list, the newest first, in the order of revisions, of which some may be missing. ARGV: the
-- revision before which (0: all), and how many.
local first, before = 0, tonumber(ARGV[1])
if before > 0 then
  local last = redis.call('LLEN', KEYS[1])
  while first < last do
    local middle = math.floor((first + last) / 2)
    local item = redis.call('LINDEX', KEYS[1], middle)
    if tonumber(string.match(item, '^%d+\n[^\n]*"revision":(%d+)')) < before then last = middle else first = middle + 1 end
  end
end
return redis.call('LRANGE', KEYS[1], first, first + ARGV[2] - 1)
