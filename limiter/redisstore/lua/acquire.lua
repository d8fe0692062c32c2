-- Store.Decide for the asks of one call, in order. An ask is 7 numbers, stamps of policy, key and pool, not-after, mode (0,
-- 1 for a dry run, n+1 for the n-th hold), 0 or its number among those granted once, and its lines, which are 3 each:
-- terms, counter, cost (-1 is a cost of 0 that fits only while one unit would). The answer has a verdict for each ask and 4 numbers for each line: used, part (of a quota: the end
-- of the window), total, and 1 if the cost fit or would have, plus 2 if not all of it was charged.
local GRANTED, DENIED, STALE, LATE, DRY, REPEATED, CROWDED = 1, 2, 3, 4, 5, 6, 7
local abs = math.abs

if held[1] and parse('<d', held[1]) >= seq then
  return {} -- given up by its sender before it came here: undo.lua
end

-- Functions are made only where a call needs them, since making them takes its time.

-- take has a hold take slots; they are written before the counters.
local slots, take
if holds > 0 then
  slots = {}
  take = function(k, hold, cost)
    local expires = now + a[holdsAt + 2 * hold + 1]
    s[k + 3] = math.max(s[k + 3], expires)
    s[k + 4] = (s[k + 1] > cost and s[k + 4] > 0) and math.min(s[k + 4], expires) or expires
    slots[#slots + 1] = {KEYS[4 + entries + k / 8], expires, sub(KEYS[holdKey + hold], -22) .. ':' .. string.format('%.0f', cost), s[k + 3]}
  end
end

-- A grant that is remembered is how many were told of it, and then what whoever repeats it is told: until when it holds, its
-- time, the permit, the lines as they were answered, and what was sent to be remembered.
local made, repeats, earlier, remember
if onces > 0 then
  made, repeats = {}, {}
  earlier = function(once)
    local name = KEYS[onceKey + once]
    local grant = made[name] and made[name][1] or held[onceKey - 1 + once]
    if grant and parse('<d', grant, 2) > now then
      grant = string.char(math.min(string.byte(grant) + 1, MANY)) .. sub(grant, 2)
      made[name] = {grant, made[name] and made[name][2]}
      return grant
    end
  end

  -- remember has a grant be made once: lines are as answered.
  remember = function(once, lines, hold)
    local body, kept = ARGV[5 + holds + once], a[oncesAt + once]
    if body ~= '' then
      local permit = hold > 0 and sub(KEYS[holdKey + hold], -22) or string.rep(' ', 22)
      local grant = pack('<Bdd', 1, now + kept * 1000, now) .. permit .. pack('<B', #lines) .. table.concat(lines) .. body
      made[KEYS[onceKey + once]] = {grant, math.max(shortest, kept)}
    end
  end
end

local out, o, charged, outdated, records = {}, 0, false, nil, nil
for ask = 1, asks do
  local policy, key, pool, verdict = a[at + 1], a[at + 2], a[at + 3], GRANTED
  local first, last, once = at + 8, at + 5 + 3 * a[at + 7], a[at + 6] -- lines
  local repeated = once > 0 and now <= a[at + 4] and earlier(once)
  if now > a[at + 4] then
    verdict = LATE
  elseif repeated then
    verdict = REPEATED
    repeats[#repeats + 1] = -ask
    repeats[#repeats + 1] = repeated
    charged = true
  elseif not (current[policy] and current[key] and current[pool]) then
    verdict = STALE
    outdated = outdated or {}
    outdated[policy], outdated[key], outdated[pool] = true, true, true
  elseif newcomers and crowded(ask) > 0 then
    verdict = CROWDED
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
      if cost ~= 0 and a[t + 3] == 0 and abs(cost) > a[t + 1] - s[k + 1] - (s[k + 2] > 0 and 1 or 0) then verdict = DENIED end
    end
  end
  o = o + 1
  out[o] = verdict
  if verdict == STALE or verdict == LATE or verdict == REPEATED or verdict == CROWDED then
    -- The first number tells undo.lua which grant it was, or the asker which kinds of names are too many.
    local moment = repeated and parse('<d', repeated, 10) or verdict == CROWDED and newcomers[ask].crowd or 0
    for _ = first, last, 3 do
      out[o + 1], out[o + 2], out[o + 3], out[o + 4] = moment, 0, 0, 0
      o = o + 4
    end
  else
    if newcomers and verdict == GRANTED then note(ask) end
    local receipts = verdict == GRANTED and a[at + 5] > 1 and {}
    local lines = verdict == GRANTED and once > 0 and {}
    for j = first, last, 3 do
      local n, k, cost = a[j], 8 * a[j + 1] - 8, a[j + 2]
      local t, u = termsAt + 7 * n, s[k + 1]
      local flags = (cost == 0 or abs(cost) <= a[t + 1] - u - (s[k + 2] > 0 and 1 or 0)) and 1 or 0
      local write = s[k + 6] and (verdict == DENIED or a[t + 4] == 2)
      if verdict == GRANTED and cost > 0 then
        local v = u + cost
        if v > a[t + 2] then
          v = math.max(u, a[t + 2])
          if v ~= u + cost then flags = flags + 2 end
        end
        s[k + 1] = v
        if a[t + 4] == 2 then
          take(k, a[at + 5] - 1, v - u)
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
      if lines then lines[#lines + 1] = pack('<I7I7I7B', out[o + 1], out[o + 2], out[o + 3], flags) end
      o = o + 4
    end
    if lines then
      remember(once, lines, a[at + 5] - 1)
      charged = true
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
-- Slots come first: no other write can fail, whatever is stored under the keys.
for i = 1, slots and #slots or 0 do
  redis.call('ZADD', slots[i][1], slots[i][2], slots[i][3])
  redis.call('PEXPIRE', slots[i][1], math.max(shortest, math.ceil((slots[i][4] - now) / 1000)))
end
