-- Counters that changed are stored. A counter of a rate is kept after it will have drained in d seconds, for 9 times d, at
-- least a minute and at most a day, since an edit may slow it down meanwhile. Setting a TTL is half the cost of a write, so
-- it is set as much longer, and again when that is used up. The second in which a counter was made is kept with it.
for i = 1, #dirty do
  local k = dirty[i]
  local t, name = termsAt + 7 * s[k + 7], KEYS[3 + entries + k / 8]
  if a[t + 4] == 2 then
    if s[k + 8] then redis.call('ZREMRANGEBYRANK', KEYS[4 + entries + k / 8], 0, s[k + 8] - 1) end
    redis.call('SET', name, pack('<I7I7I7', s[k + 1], s[k + 3], s[k + 4]), 'PX', math.max(shortest, math.ceil((s[k + 3] - now) / 1000)))
  elseif a[t + 4] == 1 then
    local value = pack('<I7I7I7', s[k + 1], s[k + 3], s[k + 4])
    if s[k + 8] then
      redis.call('SET', name, value, 'KEEPTTL')
    else
      redis.call('SET', name, value, 'PX', math.max(shortest, math.ceil((s[k + 3] - now) / 1000)))
    end
  else
    local units, per = a[t + 6], a[t + 7]
    local drain = math.min((s[k + 1] * per + s[k + 2]) / units, 3153600000000000) / 1000000
    local longer = math.max(60, math.min(86400, 9 * drain))
    local kept, renew = s[k + 8], false
    if not kept or kept < now / 1000000 + drain + longer then
      kept, renew = math.ceil(now / 1000000 + drain + 2 * longer), true
    end
    local raw = held[2 + entries + k / 8]
    local born = math.floor(now / 1000000)
    if raw then born = math.min(born, (parse('<I5', raw, 51))) end
    local value = pack('<I7I6I7I5I6I7I7I5I5', s[k + 1], s[k + 2], s[k + 3], units, per, a[t + 5], s[k + 4], kept, born) .. s[k + 5]
    if renew then
      redis.call('SET', name, value, 'PX', math.max(shortest, math.ceil(kept * 1000 - now / 1000)))
    else
      redis.call('SET', name, value, 'KEEPTTL')
    end
  end
end
