-- Store.History: KEYS[1] is the list, the newest first, in the order of revisions, of which some may be missing. ARGV: the
-- revision before which (0: all), how many at most, and the bytes with which a piece ends. The answer is the revision of the
-- oldest, and then the piece.
local first, last, before = 0, redis.call('LLEN', KEYS[1]), tonumber(ARGV[1])
if last == 0 then return {'0'} end
local function revision(i) return string.match(redis.call('LINDEX', KEYS[1], i), '^%d+\n%d+\n[^\n]*"revision":(%d+)') end
local answer, size = {revision(-1)}, 0
if before > 0 then
  local till = last
  while first < till do
    local middle = math.floor((first + till) / 2)
    if tonumber(revision(middle)) < before then till = middle else first = middle + 1 end
  end
end
for i = first, math.min(last, first + ARGV[2]) - 1 do
  answer[#answer + 1] = redis.call('LINDEX', KEYS[1], i)
  size = size + #answer[#answer]
  if size >= tonumber(ARGV[3]) then break end
end
return answer
