-- Takes back asks of the lane's call seq whose callers are gone: those that ARGV[5] marks with a 1. A call that has not
-- come here yet will find that it was given up. Either happens once, however often this is sent.
--
-- What is taken back was never used, so a rate is put right as it stood at its mark, whatever it drains by since: it then
-- owes no less than if it had never been charged. A grant that is remembered is taken back by the last that was told of it,
-- if none was.
local record = held[1]
local last = record and parse('<d', record) or 0
if last > seq or last == seq and #record == 8 then return 0 end

local GRANTED, REPEATED = 1, 6
local kept, rates, grants = 0, {}, {} -- kept: lines that could not be taken back

-- asItWas reads the counter of a rate that follows s[k].
local function asItWas(k)
  local raw = held[2 + entries + k / 8]
  if s[k + 1] or not raw then return raw end
  local u, p, m, _, _, _, total = parse('<I7I6I7I5I6I7I7I5', raw)
  s[k + 1], s[k + 2], s[k + 3], s[k + 4], s[k + 5], s[k + 7] = u, p, m, total, sub(raw, 56), true
  rates[#rates + 1] = k
  return raw
end

-- untold has one less know of the grant of that moment. It returns the grant if nobody is left.
local function untold(once, moment)
  local name = KEYS[onceKey + once]
  local grant = grants[name] or held[onceKey - 1 + once]
  if not grant or parse('<d', grant, 10) ~= moment then return nil end
  local told = string.byte(grant)
  if told == 0 then return nil end
  if told < MANY then grant = string.char(told - 1) .. sub(grant, 2) end
  grants[name] = grant
  return told == 1 and grant
end

-- takeBack gives back what an ask, whose lines begin at a[first], was charged at that moment, as the numbers from was[o] say.
local function takeBack(first, last, was, o, moment, permit)
  for j = first, last, 3 do
    local n, k, cost = a[j], 8 * a[j + 1] - 8, a[j + 2]
    if cost > 0 and was[o + 3] < 2 then
      local kind = a[termsAt + 7 * n + 4]
      if kind == 0 then
        if asItWas(k) then refund(k, n, was[o + 2], moment, cost) end
      else
        if not s[k + 1] then advance(k, n) end
        if kind == 1 then refund(k, n, was[o + 2], was[o + 1], cost) else free(k, n, permit, cost) end
      end
    end
    o = o + 4
  end
end

if last == seq then
  local moment, out, o = parse('<d', record, 9), {parse(ARGV[3], record, 17)}, 1
  for ask = 1, asks do
    local verdict, hold, once, first = out[o], KEYS[holdKey + a[at + 5] - 1], a[at + 6], at + 8
    local lines = a[at + 7]
    at = at + 7 + 3 * lines
    if sub(ARGV[5], ask, ask) == '1' and (verdict == GRANTED or verdict == REPEATED and lines > 0) then
      local permit = sub(hold, -22)
      if once == 0 then
        takeBack(first, at, out, o + 1, moment, permit)
        if a[first - 3] > 1 then redis.call('DEL', hold) end
      else
        local then_ = verdict == GRANTED and moment or out[o + 1]
        -- One that was refused has nothing to be remembered, and none of its own to be told of.
        local grant = (verdict == REPEATED or ARGV[5 + holds + once] ~= '') and untold(once, then_)
        if grant and sub(grant, GRANT_HEAD + 22 * string.byte(grant, GRANT_HEAD - 1)) == ARGV[5 + holds + once] then
          takeBack(first, at, {parse('<' .. string.rep('I7I7I7B', lines), grant, GRANT_HEAD)}, 1, then_, sub(grant, 18, 39))
          if a[first - 3] > 1 then redis.call('DEL', sub(hold, 1, -23) .. sub(grant, 18, 39)) end
        elseif grant then -- granted under other documents than it was repeated under: its counters are not known here
          kept = kept + 1
        end
      end
    end
    o = o + 1 + 4 * lines
  end
end
for i = 1, #rates do
  local k = rates[i]
  local raw = held[2 + entries + k / 8]
  redis.call('SET', KEYS[3 + entries + k / 8], pack('<I7I6', s[k + 1], s[k + 2]) .. sub(raw, 14, 55) .. s[k + 5], 'KEEPTTL')
end
for name, grant in pairs(grants) do
  if string.byte(grant) == 0 then redis.call('DEL', name) else redis.call('SET', name, grant, 'KEEPTTL') end
end
redis.call('SET', KEYS[2], pack('<d', seq), 'PX', 86400000)
