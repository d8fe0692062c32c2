-- Store.Decide for the asks of one call, in order. An ask is 6 numbers, stamps of policy, key and pool, not-after,
-- mode (0, 1 for a dry run, n+1 for the n-th hold), and its lines, which are 3 each: terms, counter, cost. The answer has a verdict for each ask and 4
-- numbers for each line: used, part (of a quota: the end of the window), total, and 1 if the cost fit or would have, plus
-- 2 if not all of it was charged.
local GRANTED, DENIED, STALE, LATE, DRY = 1, 2, 3, 4, 5

if held[1] and parse('<d', held[1]) >= seq then
  return {} -- given up by its sender before it came here: undo.lua
end

-- take has a hold take slots; they are written after the counters.
local slots = {}
local function take(k, hold, cost)
  local expires = now + a[holdsAt + 2 * hold + 1]
  s[k + 3] = math.max(s[k + 3], expires)
  s[k + 4] = (s[k + 1] > cost and s[k + 4] > 0) and math.min(s[k + 4], expires) or expires
  slots[#slots + 1] = {KEYS[4 + entries + k / 8], expires, sub(KEYS[holdKey + hold], -22) .. ':' .. string.format('%.0f', cost)}
end

local out, o, charged, outdated, records = {}, 0, false, nil, nil
for _ = 1, asks do
  local policy, key, pool, verdict = a[at + 1], a[at + 2], a[at + 3], GRANTED
  local first, last = at + 7, at + 4 + 3 * a[at + 6] -- lines
  if now > a[at + 4] then
    verdict = LATE
  elseif not (current[policy] and current[key] and current[pool]) then
    verdict = STALE
    outdated = outdated or {}
    outdated[policy], outdated[key], outdated[pool] = true, true, true
  else
    if a[at + 5] == 1 then verdict = DRY end
    for j = first, last, 3 do
      local n, k, cost = a[j], 8 * a[j + 1] - 8, a[j + 2]
      local t = termsAt + 7 * n
      if a[t + 4] == 1 and (now < a[t + 5] or now >= a[t + 6]) then
        verdict = LATE
        break
      end
      if not s[k + 1] then advance(k, n) end
      if cost > 0 and a[t + 3] == 0 and cost > a[t + 1] - s[k + 1] - (s[k + 2] > 0 and 1 or 0) then verdict = DENIED end
    end
  end
  o = o + 1
  out[o] = verdict
  if verdict == STALE or verdict == LATE then
    for _ = first, last, 3 do
      out[o + 1], out[o + 2], out[o + 3], out[o + 4] = 0, 0, 0, 0
      o = o + 4
    end
  else
    local receipts = verdict == GRANTED and a[at + 5] > 1 and {}
    for j = first, last, 3 do
      local n, k, cost = a[j], 8 * a[j + 1] - 8, a[j + 2]
      local t, u = termsAt + 7 * n, s[k + 1]
      local flags = (cost == 0 or cost <= a[t + 1] - u - (s[k + 2] > 0 and 1 or 0)) and 1 or 0
      local write = verdict == DENIED and s[k + 6]
      if verdict == GRANTED and cost > 0 then
        local v = u + cost
        if v > a[t + 2] then
          v = math.max(u, a[t + 2])
          if v ~= u + cost then flags = flags + 2 end
        end
        s[k + 1] = v
        if a[t + 4] == 2 then
          take(k, a[at + 5] - 1, cost)
        else
          s[k + 4] = math.min(s[k + 4] + v - u, LIMIT)
        end
        write, charged = true, true
      end
      if receipts then receipts[#receipts + 1] = pack('<I7I7I7', s[k + 4], s[k + 3], s[k + 1] - u) end
      if write and not s[k + 7] then
        s[k + 7] = n
        dirty[#dirty + 1] = k
      end
      out[o + 1], out[o + 2], out[o + 3], out[o + 4] = s[k + 1], a[t + 4] > 0 and s[k + 3] or s[k + 2], s[k + 4], flags
      o = o + 4
    end
    if receipts then
      local hold = a[at + 5] - 1
      local ttl, kept = a[holdsAt + 2 * hold + 1], a[holdsAt + 2 * hold + 2]
      records, charged = records or {}, true
      records[#records + 1] = KEYS[holdKey + hold]
      records[#records + 1] = pack('<BBI7I7I7B', 1, 0, now, now + ttl, kept, #receipts) .. table.concat(receipts) .. ARGV[5 + hold]
      records[#records + 1] = math.max(shortest, math.ceil(ttl / 1000) + kept)
    end
  end
  at = last + 2
end
