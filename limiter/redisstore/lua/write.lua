-- Counters that changed are stored. A counter of a rate is kept for a day after it will have drained, since an edit may
-- slow it down meanwhile. Setting a TTL is half the cost of a write, so it is set a day longer, and again when less than a
-- day is left of that.
for i = 1, #dirty do
  local k = dirty[i]
  local t, name = termsAt + 7 * s[k + 7], KEYS[3 + entries + k / 8]
  if a[t + 4] == 2 then
    if s[k + 8] then redis.call('ZREMRANGEBYRANK', KEYS[4 + entries + k / 8], 0, s[k + 8] - 1) end
    redis.call('SET', name, pack('<I7I7I7', s[k + 1], s[k + 3], s[k + 4]), 'PX', 90000000) -- longer than a hold may last
  elseif a[t + 4] == 1 then
    local value = pack('<I7I7I7', s[k + 1], s[k + 3], s[k + 4])
    if s[k + 8] then
      redis.call('SET', name, value, 'KEEPTTL')
    else
      redis.call('SET', name, value, 'PX', math.max(shortest, math.ceil((s[k + 3] - now) / 1000)))
    end
  else
    local units, per = a[t + 6], a[t + 7]
    local empty = math.min(now + (s[k + 1] * per + s[k + 2]) / units, now + 3153600000000000) / 1000000 -- seconds
    local kept = s[k + 8]
    local renew = not kept or kept < empty + 86400
    if renew then kept = math.ceil(empty) + 2 * 86400 end
    local value = pack('<I7I6I7I5I6I7I7I5', s[k + 1], s[k + 2], s[k + 3], units, per, a[t + 5], s[k + 4], kept) .. s[k + 5]
    if renew then
      redis.call('SET', name, value, 'PX', math.max(shortest, math.ceil(kept * 1000 - now / 1000)))
    else
      redis.call('SET', name, value, 'KEEPTTL')
    end
  end
end
