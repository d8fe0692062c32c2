-- touch has a counter be written, under the n-th terms.
local function touch(k, n)
  if not s[k + 7] then
    s[k + 7] = n
    dirty[#dirty + 1] = k
  end
end

-- slotsOf names what a permit has in the sorted set of slots.
local function slotsOf(permit, units) return permit .. ':' .. string.format('%.0f', units) end

-- refund gives back cost units of a charge after which the counter's total and mark were those: Terms.Refund. The
-- counter's fields follow s[k], and n numbers its terms. Returns how many it gave back.
local MAX_REFUNDS = 32

local function refund(k, n, totalThen, markThen, cost)
  local u, p, total = s[k + 1], s[k + 2], s[k + 4]
  if a[termsAt + 7 * n + 4] == 1 then
    cost = math.min(cost, u)
    if cost <= 0 or s[k + 3] ~= markThen then return 0 end
    s[k + 1] = u - cost
  else
    local raw = held[2 + entries + k / 8]
    if totalThen > total or total >= LIMIT or not raw then return 0 end
    if markThen < 1000000 * parse('<I5', raw, 51) then return 0 end -- charged to one that was forgotten
    local charge, given = {}, {}
    local later, place = total - totalThen, 1
    for pos = 1, #s[k + 5], 14 do
      local i = #charge + 1
      charge[i], given[i] = parse('<I7I7', s[k + 5], pos)
      if charge[i] > totalThen then later = later - given[i] else place = i + 1 end
    end
    cost = math.min(cost, u + (p > 0 and 1 or 0) - later)
    if cost <= 0 then return 0 end
    u = u - cost
    if u < later then u, p = later, 0 end -- all that is left of the charge, the last unit in part
    if charge[place - 1] == totalThen then
      given[place - 1] = given[place - 1] + cost
    else
      table.insert(charge, place, totalThen)
      table.insert(given, place, cost)
    end
    local whole = u + (p > 0 and 1 or 0)
    local beyond, first = total, #charge + 1
    while first > 1 and whole > beyond - charge[first - 1] do
      first = first - 1
      beyond = beyond - given[first]
    end
    if #charge - first + 1 > MAX_REFUNDS then
      local nearest = first + 1
      for i = first + 2, #charge do
        if charge[i] - charge[i - 1] < charge[nearest] - charge[nearest - 1] then nearest = i end
      end
      given[nearest - 1] = given[nearest - 1] + given[nearest]
      table.remove(charge, nearest)
      table.remove(given, nearest)
    end
    local tail = {}
    for i = first, #charge do tail[#tail + 1] = pack('<I7I7', charge[i], given[i]) end
    s[k + 1], s[k + 2], s[k + 5] = u, p, table.concat(tail)
  end
  touch(k, n)
  return cost
end

-- free gives back the slots of a permit, unless they have expired.
local function free(k, n, permit, units)
  local slots, member = KEYS[4 + entries + k / 8], slotsOf(permit, units)
  local expires = redis.call('ZSCORE', slots, member)
  if not expires or tonumber(expires) <= now then return end
  redis.call('ZREM', slots, member)
  s[k + 1] = s[k + 1] - units
  touch(k, n)
end
