-- Store.Instances: KEYS[1] is a hash of instances, each with the time until which it counts as alive. ARGV: an instance's id and
-- its text, or '' for none; and for how long it counts, in microseconds.
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[3]) .. '\n' .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[3] / 1000))
end
local alive, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local till, text = string.match(all[i + 1], '^(%d+)\n(.*)$')
  if till and tonumber(till) > now then
    alive[#alive + 1] = text
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return alive
