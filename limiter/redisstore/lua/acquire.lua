-- Store.Decide for the asks of one call, in order.
local GRANTED, DENIED, STALE, LATE, DRY = 1, 2, 3, 4, 5

if held[1] and parse('<d', held[1]) >= seq then
  return {} -- given up by its sender before it came here: undo.lua
end

local LINES = {}
for n = 1, 64 do LINES[n] = '<' .. string.rep('HHd', n) end

local out, pos, charged = {pack('<d', now)}, 1, false
local outdated = {}

local function admit(lines, n, dry)
  local granted = true
  local before = {}
  for i = 1, n do
    local t, c, cost = lines[3 * i - 2], lines[3 * i - 1], lines[3 * i]
    advance(c, t)
    local fits = cost == 0 or cost <= burst[t] - used[c] - (part[c] > 0 and 1 or 0)
    before[i] = fits and 1 or 0
    granted = granted and (fits or shadow[t])
  end
  for i = 1, n do
    local t, c, cost = lines[3 * i - 2], lines[3 * i - 1], lines[3 * i]
    if not granted then
      if moved[c] then dirty[c] = t end
    elseif not dry and cost > 0 then
      local was = used[c]
      used[c] = min(min(was + cost, LIMIT), max(was, most[t]))
      if used[c] ~= was + cost then before[i] = before[i] + 2 end
      total[c] = min(total[c] + used[c] - was, LIMIT)
      dirty[c] = t
      charged = true
    end
  end
  out[#out + 1] = pack('<B', not granted and DENIED or dry and DRY or GRANTED)
  for i = 1, n do
    local c = lines[3 * i - 1]
    out[#out + 1] = pack('<I7I7I7B', used[c], windowEnd[lines[3 * i - 2]] and mark[c] or part[c], total[c], before[i])
  end
end

for _ = 1, asks do
  local policy, key, pool, notAfter, dry, n
  policy, key, pool, notAfter, dry, n, pos = parse('<HHHdBB', askBlob, pos)
  local verdict
  if now > notAfter then
    verdict = LATE
  elseif not (current[policy] and current[key] and current[pool]) then
    verdict = STALE
    outdated[policy], outdated[key], outdated[pool] = true, true, true
  elseif n == 0 then
    verdict = dry == 1 and DRY or GRANTED
  else
    local lines = {parse(LINES[n], askBlob, pos)}
    for i = 1, n do
      local t = lines[3 * i - 2]
      if windowEnd[t] and (now < windowStart[t] or now >= windowEnd[t]) then verdict = LATE end
    end
    if not verdict then admit(lines, n, dry == 1) end
  end
  if verdict then out[#out + 1] = pack('<B', verdict) end
  pos = pos + 12 * n
end

write()
local reply = {table.concat(out)}
if charged then -- what undo.lua goes by, should this reply be lost
  redis.call('SET', KEYS[2], pack('<d', seq) .. reply[1], 'PX', lifetime(DAY))
end
for stamp in pairs(outdated) do
  if not current[stamp] then
    local doc = document[stamp]
    reply[#reply + 1] = doc
    reply[#reply + 1] = doc == 0 and redis.call('GET', KEYS[1]) or doc ~= 0 and held[1 + doc] or ''
  end
end
return reply
