-- kept is the record of a hold, or '' where there is none or its time is over by now, whatever Redis' own clock says.
local function kept(record)
  if not record then return '' end
  local _, _, _, expires, keep = struct.unpack('<BBI7I7I7', record)
  return now < expires + keep * 1000 and record or ''
end
