-- What the scripts share. The arithmetic is that of package limiter (rate.go, terms.go, refund.go), in doubles: every
-- whole number up to 2^53 is exact, and products that may pass that are done in digits.

local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max
local pack, parse, sub = struct.pack, struct.unpack, string.sub

local LIMIT = 4000000000000000 -- of every count of units
local DAY = 86400000           -- in milliseconds

-- muldiv is x*y/z, rounded down, and what is left over, for 0 <= x < z <= 2^43 and 0 <= y < 2^45. A quotient of two
-- whole numbers below 2^53 never rounds up to the next whole one.
local function muldiv(x, y, z)
  local r = x * y
  if r < 9007199254740992 then
    local q = floor(r / z)
    return q, r - q * z
  end
  local q = 0
  r = 0
  for digit = 4, 0, -1 do -- of 9 bits, so that r*512 + x*511 stays below 2^53
    r = r * 512 + x * (floor(y / 512 ^ digit) % 512)
    local e = floor(r / z)
    q = q * 512 + e
    r = r - e * z
  end
  return q, r
end

-- slower: a units in b microseconds drain less than c in d. Compared as continued fractions, which stay exact.
local function slower(a, b, c, d)
  if a == 0 or c == 0 then return a == 0 and c ~= 0 end
  while true do
    local p, q = floor(a / b), floor(c / d)
    if p ~= q then return p < q end
    a, c = a - p * b, c - q * d
    if a == 0 or c == 0 then return a == 0 and c ~= 0 end
    a, b, c, d = d, c, b, a
  end
end

-- ARGV, as batch.go writes it.
local seq, entries, asks = parse('<dHH', ARGV[1])
local stampBlob, termsBlob, askBlob = ARGV[2], ARGV[3], ARGV[4]

-- KEYS: the policy, the lane, entries, counters.
local held = redis.call('MGET', unpack(KEYS, 2))
local firstCounter = 1 + entries -- the counter c is held[firstCounter + c] and KEYS[1 + firstCounter + c]
local policyHead = redis.call('GETRANGE', KEYS[1], 0, 64)

-- Stamps: is the document's tag that one? Number 0 is no document at all.
local current, document = {[0] = true}, {}
do
  local pos, n = 1, 0
  while pos <= #stampBlob do
    local doc, tag
    doc, tag, pos = parse('<HBc0', stampBlob, pos)
    n = n + 1
    document[n] = doc
    local head = doc == 0 and policyHead or held[1 + doc] or ''
    if tag == '' then
      current[n] = head == ''
    else
      current[n] = sub(head, 1, #tag + 1) == tag .. '\n'
    end
  end
end

-- Terms: of each its burst, the most that may be owed, whether it is a shadow, and either a window or a schedule, of
-- which the change in force is at hand and the rest where it was sent.
local burst, most, shadow, windowStart, windowEnd = {}, {}, {}, {}, {}
local since, units, per, changes = {}, {}, {}, {}
do
  local pos, n = 1, 0
  while pos <= #termsBlob do
    local quota, dark
    n = n + 1
    quota, dark, burst[n], most[n], pos = parse('<BBdd', termsBlob, pos)
    shadow[n] = dark == 1
    if quota == 1 then
      windowStart[n], windowEnd[n], pos = parse('<dd', termsBlob, pos)
    else
      changes[n] = pos
      pos = pos + 18 + 24 * parse('<B', termsBlob, pos)
      since[n], units[n], per[n] = parse('<ddd', termsBlob, pos - 24)
    end
  end
end

-- Counters, once advanced to now: the fields of limiter.State.
local used, part, mark, total, refunds = {}, {}, {}, {}, {}
local moved = {} -- has to be written though nothing is charged
local dirty = {} -- will be written: counter -> terms

-- drain lets elapsed microseconds pass for u units and p parts, at ru units in rp.
local function drain(u, p, elapsed, ru, rp)
  local turns = floor(elapsed / rp)
  if turns > u / ru then return 0, 0 end
  local n, left = muldiv(elapsed - turns * rp, ru, rp)
  u = u - turns * ru - n
  p = p - left
  if p < 0 then
    u, p = u - 1, p + rp
  end
  if u < 0 then return 0, 0 end
  return u, p
end

-- reparted is u units and p parts of 1/from as parts of 1/to, rounded up.
local function reparted(u, p, from, to)
  if p == 0 or from == to then return u, p end
  local q, rest = muldiv(p, to, from)
  if rest > 0 then q = q + 1 end
  if q == to then return u + 1, 0 end
  return u, q
end

-- replay drains a counter that was written under another change than the one in force: Schedule.drain.
local function replay(t, u, p, m, ru, rp, si)
  local pos = changes[t]
  local n, cut, slowUnits, slowPer
  n, cut, slowUnits, slowPer, pos = parse('<BBdd', termsBlob, pos)
  local at, cu, cp = {}, {}, {}
  for i = 1, n do
    at[i], cu[i], cp[i], pos = parse('<ddd', termsBlob, pos)
  end
  local to = rp -- the parts that p is in
  local nxt = 1
  while nxt <= n and at[nxt] <= si do nxt = nxt + 1 end
  if nxt == 1 then
    if cut == 1 and slower(slowUnits, slowPer, ru, rp) then ru, rp = slowUnits, slowPer end
  elseif at[nxt - 1] == si then
    if cu[nxt - 1] ~= ru or cp[nxt - 1] ~= rp then nxt = nxt - 1 end
  else
    nxt = n
    for i = 1, n - 1 do
      if slower(cu[i], cp[i], ru, rp) then ru, rp = cu[i], cp[i] end
    end
  end
  local function pass(until_)
    if ru > 0 then
      u, p = reparted(u, p, to, rp)
      to = rp
      if until_ > m then u, p = drain(u, p, until_ - m, ru, rp) end
    end
    m = until_
  end
  for i = nxt, n do
    local until_ = min(at[i], now)
    if until_ > m then pass(until_) end
    ru, rp = cu[i], cp[i]
  end
  pass(now)
  return reparted(u, p, to, per[t])
end

-- advance brings a counter to now: Terms.Advance. Only the first time in a call is there anything to do.
local function advance(c, t)
  if used[c] then return end
  local raw = held[firstCounter + c]
  local u, p, m, n, tail = 0, 0, now, 0, ''
  if windowEnd[t] then
    m = 0
    if raw then u, m, n = parse('<I7I7I7', raw) end
    if m <= now then u, m, n = 0, windowEnd[t], 0 end
  elseif raw then
    local ru, rp, si
    u, p, m, ru, rp, si, n = parse('<I7I6I7I5I6I7I7', raw)
    moved[c] = now < m or si ~= since[t] or ru ~= units[t] or rp ~= per[t]
    if u == 0 and p == 0 then
      -- nothing is owed
    elseif si == since[t] and ru == units[t] and rp == per[t] then
      if now > m then u, p = drain(u, p, now - m, ru, rp) end
    else
      u, p = replay(t, u, p, m, ru, rp, si)
    end
    m = now
    if #raw > 45 and (u > 0 or p > 0) then tail = sub(raw, 46) end
  end
  used[c], part[c], mark[c], total[c], refunds[c] = u, p, m, n, tail
end

-- write stores what changed.
local function write()
  for c, t in pairs(dirty) do
    local value, ms
    if windowEnd[t] then
      value = pack('<I7I7I7', used[c], mark[c], total[c])
      ms = (mark[c] - now) / 1000
    else
      value = pack('<I7I6I7I5I6I7I7', used[c], part[c], mark[c], units[t], per[t], since[t], total[c]) .. refunds[c]
      ms = (used[c] * per[t] + part[c]) / units[t] / 1000 + DAY + 1
    end
    redis.call('SET', KEYS[1 + firstCounter + c], value, 'PX', lifetime(ms))
  end
end
