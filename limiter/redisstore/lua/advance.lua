-- The arithmetic of package limiter (rate.go, terms.go) in doubles: whole numbers are exact up to 2^53, and products that
-- may pass that are done in digits. x % y of whole numbers below 2^53 is exact.

-- drained is what remains of u units and p parts at m, written under the rate ru in rp of the change si, for terms t
-- (numbered): Schedule.drain. It is the long way, for counters that were written under another change or whose numbers
-- are large.
local function drained(t, u, p, m, ru, rp, si)
  -- muldiv is x*y/z, rounded down, and what is left over, for 0 <= x < z <= 2^43 and 0 <= y < 2^45.
  local function muldiv(x, y, z)
    local r = x * y
    if r < EXACT then
      local rest = r % z
      return (r - rest) / z, rest
    end
    local q = 0
    r = 0
    for digit = 4, 0, -1 do -- of 9 bits, so that r*512 + x*511 stays below 2^53
      r = r * 512 + x * (math.floor(y / 512 ^ digit) % 512)
      local rest = r % z
      q = q * 512 + (r - rest) / z
      r = rest
    end
    return q, r
  end

  -- slower: b units in c microseconds drain less than d in e. Compared as continued fractions, which stay exact.
  local function slower(b, c, d, e)
    if b == 0 or d == 0 then return b == 0 and d ~= 0 end
    while true do
      local p, q = b % c, d % e
      if b - p ~= 0 or d - q ~= 0 then
        local v, w = (b - p) / c, (d - q) / e
        if v ~= w then return v < w end
      end
      b, d = p, q
      if b == 0 or d == 0 then return b == 0 and d ~= 0 end
      b, c, d, e = e, d, c, b
    end
  end

  local parts = rp -- that p is in
  local function reparted(to)
    if p > 0 and parts ~= to then
      local q, rest = muldiv(p, to, parts)
      if rest > 0 then q = q + 1 end
      if q == to then u, q = u + 1, 0 end
      p = q
    end
    parts = to
  end

  -- pass lets time pass until then.
  local function pass(to)
    if ru > 0 then
      reparted(rp)
      local elapsed = to - m
      if elapsed > 0 then
        local rest = elapsed % rp
        local turns = (elapsed - rest) / rp
        if turns > u / ru then
          u, p = 0, 0
        else
          local n, left = muldiv(rest, ru, rp)
          u, p = u - turns * ru - n, p - left
          if p < 0 then u, p = u - 1, p + rp end
          if u < 0 then u, p = 0, 0 end
        end
      end
    end
    m = to
  end

  local pos = 1
  for _ = 2, t do pos = pos + 18 + 24 * parse('<B', ARGV[4], pos) end
  local n, cut, slowUnits, slowPer
  n, cut, slowUnits, slowPer, pos = parse('<BBdd', ARGV[4], pos)
  local since, cu, cp = {}, {}, {}
  for i = 1, n do since[i], cu[i], cp[i], pos = parse('<ddd', ARGV[4], pos) end
  local nxt = 1
  while nxt <= n and since[nxt] <= si do nxt = nxt + 1 end
  if nxt == 1 then
    if cut == 1 and slower(slowUnits, slowPer, ru, rp) then ru, rp = slowUnits, slowPer end
  elseif since[nxt - 1] == si then
    if cu[nxt - 1] ~= ru or cp[nxt - 1] ~= rp then nxt = nxt - 1 end
  else
    nxt = n
    for i = 1, n - 1 do
      if slower(cu[i], cp[i], ru, rp) then ru, rp = cu[i], cp[i] end
    end
  end
  for i = nxt, n do
    local to = math.min(since[i], now)
    if to > m then pass(to) end
    ru, rp = cu[i], cp[i]
  end
  pass(now)
  reparted(cp[n])
  return u, p
end

-- advance brings the counter whose fields follow s[k] to now, under the n-th terms: Terms.Advance.
local function advance(k, n)
  local t, raw = termsAt + 7 * n, held[2 + entries + k / 8]
  local u, p, m, total, refunds, moved, kept = 0, 0, now, 0, '', false, false
  if a[t + 4] == 1 then
    if raw then u, m, total = parse('<I7I7I7', raw) end
    if raw and m > now and m <= a[t + 7] then
      kept = true
    else
      moved = raw and m > now -- it was in a window far ahead
      u, m, total = 0, a[t + 6], 0
    end
  elseif a[t + 4] == 2 then
    m = 0
    if raw then u, m, total = parse('<I7I7I7', raw) end
    if u > 0 and total <= now then
      local slots = KEYS[4 + entries + k / 8]
      local expired = redis.call('ZRANGEBYSCORE', slots, '-inf', now, 'LIMIT', 0, 1000) -- the next call sees to the rest
      for i = 1, #expired do u = u - tonumber(sub(expired[i], 24)) end
      moved, kept = true, #expired > 0 and #expired
      local following = redis.call('ZRANGE', slots, #expired, #expired, 'WITHSCORES')[2]
      if following then u, total = math.max(u, 0), tonumber(following) else u, total = 0, 0 end
    end
  elseif raw then
    local ru, rp, si
    u, p, m, ru, rp, si, total, kept = parse('<I7I6I7I5I6I7I7I5', raw)
    local elapsed = now - m
    local same = si == a[t + 5] and ru == a[t + 6] and rp == a[t + 7]
    moved = elapsed < 0 or not same
    if (u > 0 or p > 0) and (elapsed > 0 or not same) then
      local x = elapsed * ru
      if same and elapsed < rp and x < EXACT then -- the usual case
        local rest = x % rp
        u, p = u - (x - rest) / rp, p - rest
        if p < 0 then u, p = u - 1, p + rp end
        if u < 0 then u, p = 0, 0 end
      else
        u, p = drained(n, u, p, m, ru, rp, si)
      end
    end
    m = now
    if #raw > 55 and (u > 0 or p > 0) then refunds = sub(raw, 56) end
  end
  s[k + 1], s[k + 2], s[k + 3], s[k + 4], s[k + 5], s[k + 6], s[k + 7], s[k + 8] = u, p, m, total, refunds, moved, false, kept
end
