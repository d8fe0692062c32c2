-- Store.ExtendHold, and with a ttl of 0 Store.Hold: KEYS[1] is the hold, ARGV[1] the ttl in microseconds, ARGV[2] how long a
-- hold may last in all.
local record = redis.call('GET', KEYS[1]) or ''
local ttl = tonumber(ARGV[1])
if ttl > 0 and string.sub(record, 1, 1) == '\1' then
  local _, late, born, expires, kept, n, rest = struct.unpack('<BBI7I7I7B', record)
  local later = math.min(now + ttl, born + ARGV[2])
  if expires > now and later > expires then
    record = struct.pack('<BBI7I7I7B', 1, late, born, later, kept, n) .. string.sub(record, rest)
    redis.call('SET', KEYS[1], record, 'PX', math.max(shortest, math.ceil((later - now) / 1000) + kept))
  end
end
return {struct.pack('<d', now), record}
