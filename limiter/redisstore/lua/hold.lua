-- Store.Hold: KEYS[1] is the hold.
local record = redis.call('GET', KEYS[1]) or ''
if record ~= '' then
  local _, _, _, expires, kept = struct.unpack('<BBI7I7I7', record)
  if now >= expires + kept * 1000 then record = '' end
end
return {struct.pack('<d', now), record}
