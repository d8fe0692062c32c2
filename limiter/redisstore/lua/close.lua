-- Store.CloseHold: the record of the hold is in the lane's place, and the one ask has its lines, in order, with what is to be
-- charged on top, or, negative, refunded. A line without terms is passed over. ARGV[5] is what the hold becomes; one that
-- stays open (1) expires no earlier than seq microseconds from now. ARGV[6], if there is one, is the new body of the record of
-- a hold that is closed.
local GRANTED, STALE, LATE = 1, 3, 4
local record = kept(held[1])

local function answer(verdict, text)
  return {pack('<dB', now, verdict), text}
end

if record == '' or sub(record, 1, 1) ~= '\1' then return answer(GRANTED, record) end

local _, _, born, expires, keep, n, body = parse('<BBI7I7I7B', record)
local outdated
for i = 1, 3 do
  local stamp = a[at + i]
  if not current[stamp] then
    outdated = outdated or answer(STALE, '')
    local doc = a[6 + 2 * stamp]
    outdated[#outdated + 1] = doc
    outdated[#outdated + 1] = doc == 0 and redis.call('GET', KEYS[1]) or doc ~= 0 and held[1 + doc] or ''
  end
end
if outdated then return outdated end

local first, last = at + 8, at + 5 + 3 * a[at + 7]
for j = first, last, 3 do
  local t = termsAt + 7 * a[j]
  if a[j] > 0 and a[t + 4] == 1 and (now < a[t + 5] or now >= a[t + 6]) then return answer(LATE, '') end
end

local permit = sub(KEYS[2], -22)
if ARGV[5] == '1' then
  local later = math.min(now + seq, born + 86400000000)
  if expires <= now or later <= expires then return answer(GRANTED, record) end
  local receipt = body
  for j = first, last, 3 do
    local k = 8 * a[j + 1] - 8
    local _, _, units = parse('<I7I7I7', record, receipt)
    if a[j] > 0 and a[termsAt + 7 * a[j] + 4] == 2 and units > 0 then
      advance(k, a[j])
      redis.call('ZADD', KEYS[4 + entries + k / 8], 'XX', later, slotsOf(permit, units))
      s[k + 3] = math.max(s[k + 3], later)
      redis.call('PEXPIRE', KEYS[4 + entries + k / 8], math.max(shortest, math.ceil((s[k + 3] - now) / 1000)))
      touch(k, a[j])
    end
    receipt = receipt + 21
  end
  local grant = onces > 0 and held[onceKey]
  if grant and parse('<d', grant, 2) < later then
    local longer = sub(grant, 1, 1) .. pack('<d', later) .. sub(grant, 10)
    redis.call('SET', KEYS[onceKey + 1], longer, 'PX', math.max(shortest, math.ceil((later - now) / 1000)))
  end
  record = pack('<BBI7I7I7B', 1, 0, born, later, keep, n) .. sub(record, body)
  redis.call('SET', KEYS[2], record, 'PX', math.max(shortest, math.ceil((later - now) / 1000) + keep))
else
  local changes, receipt = {}, body
  for j = first, last, 3 do
    local terms, k, extra = a[j], 8 * a[j + 1] - 8, a[j + 2]
    local adjusted, uncharged = 0, 0
    local total, moment, units = parse('<I7I7I7', record, receipt)
    if terms > 0 and a[termsAt + 7 * terms + 4] == 2 then
      if units > 0 then
        advance(k, terms)
        free(k, terms, permit, units)
      end
    elseif terms > 0 and extra ~= 0 then
      advance(k, terms)
      if extra < 0 then
        adjusted = -refund(k, terms, total, moment, math.min(-extra, units))
      else
        adjusted = math.max(0, math.min(extra, a[termsAt + 7 * terms + 2] - s[k + 1]))
        uncharged = extra - adjusted
        if adjusted > 0 then
          s[k + 1], s[k + 4] = s[k + 1] + adjusted, math.min(s[k + 4] + adjusted, LIMIT)
          touch(k, terms)
        end
      end
    end
    changes[#changes + 1] = pack('<i8i8', adjusted, uncharged)
    receipt = receipt + 21
  end
  record = pack('<BBI7I7I7B', ARGV[5], now >= expires and 1 or 0, born, expires, keep, n) ..
    sub(record, body, receipt - 1) .. table.concat(changes) .. (ARGV[6] or sub(record, receipt))
  redis.call('SET', KEYS[2], record, 'KEEPTTL')
end
