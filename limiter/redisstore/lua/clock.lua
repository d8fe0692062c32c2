-- now is the store's time in microseconds: one moment for all that a script does.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- lifetime is a TTL in milliseconds, rounded up and within what Redis takes.
local function lifetime(ms)
  return string.format('%.0f', math.min(math.max(math.ceil(ms), 1), 3153600000000))
end
