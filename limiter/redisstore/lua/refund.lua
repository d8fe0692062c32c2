-- refund gives back units of a charge after which the counter's total and mark were those: Terms.Refund.
local MAX_REFUNDS = 32

local function refund(c, t, totalThen, markThen, n)
  if windowEnd[t] then
    n = min(n, used[c])
    if n > 0 and mark[c] == markThen then
      used[c] = used[c] - n
      dirty[c] = t
    end
    return
  end
  if totalThen > total[c] or total[c] >= LIMIT or now > markThen + DAY * 1000 then return end
  local charge, given = {}, {}
  local later, place = total[c] - totalThen, 1
  for pos = 1, #refunds[c], 14 do
    local i = #charge + 1
    charge[i], given[i] = parse('<I7I7', refunds[c], pos)
    if charge[i] > totalThen then later = later - given[i] else place = i + 1 end
  end
  n = min(n, used[c] + (part[c] > 0 and 1 or 0) - later)
  if n <= 0 then return end
  used[c] = used[c] - n
  if used[c] < later then -- all that is left of the charge, the last unit in part
    used[c], part[c] = later, 0
  end
  dirty[c] = t
  if charge[place - 1] == totalThen then
    given[place - 1] = given[place - 1] + n
  else
    table.insert(charge, place, totalThen)
    table.insert(given, place, n)
  end
  local whole = used[c] + (part[c] > 0 and 1 or 0)
  local beyond, first = total[c], #charge + 1
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
  refunds[c] = table.concat(tail)
end
