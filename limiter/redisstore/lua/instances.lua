-- Store.Instances: KEYS[1] is a hash of instances, each with the time until which it counts as alive. ARGV: an instance's id and
-- its text, or '' for none; for how long it counts, in microseconds; the id after which a piece of them begins, and the bytes
-- with which it ends. The answer is the id after which the next piece begins ('': there is none), and then the piece.
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[3]) .. '\n' .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[3] / 1000))
end
local answer, size, ids = {''}, 0, redis.call('HKEYS', KEYS[1])
table.sort(ids)
for i = 1, #ids do
  if ids[i] > ARGV[4] then
    local till, text = string.match(redis.call('HGET', KEYS[1], ids[i]), '^(%d+)\n(.*)$')
    if till and tonumber(till) > now then
      answer[#answer + 1] = text
      size = size + #text
      if size >= tonumber(ARGV[5]) and i < #ids then
        answer[1] = ids[i]
        break
      end
    else
      redis.call('HDEL', KEYS[1], ids[i])
    end
  end
end
return answer
