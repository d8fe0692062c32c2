-- now is the store's time in microseconds: one moment for all that a script does. shortest is the least TTL in
-- milliseconds.
local time = redis.call('TIME')
local now, shortest = time[1] * 1000000 + time[2], 1
