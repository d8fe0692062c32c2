-- Store.History: KEYS[1] is the list, the newest first, and every write of the policy adds one, so that revisions and places
-- go together. ARGV: the revision before which (0: all), and how many.
local first, before = 0, tonumber(ARGV[1])
if before > 0 then
  local newest = redis.call('LINDEX', KEYS[1], 0)
  if not newest then return {} end
  first = math.max(0, tonumber(string.match(newest, '^%d+\n[^\n]*"revision":(%d+)')) - before + 1)
end
return redis.call('LRANGE', KEYS[1], first, first + ARGV[2] - 1)
