for name, grant in pairs(made or {}) do
  if grant[2] then
    redis.call('SET', name, grant[1], 'PX', grant[2])
  else
    redis.call('SET', name, grant[1], 'KEEPTTL')
  end
end
for i = 1, records and #records or 0, 3 do
  redis.call('SET', records[i], records[i + 1], 'PX', records[i + 2])
end
local answer = pack('<d', now) .. pack(ARGV[3], unpack(out))
if charged then -- what undo.lua goes by, should this reply be lost
  redis.call('SET', KEYS[2], pack('<d', seq) .. answer, 'PX', 86400000)
end
local reply, told, size = {answer}, {}, 0
for stamp in pairs(outdated or {}) do -- who is not told of a document, as it would be too much at once, asks again
  local doc = a[6 + 2 * stamp]
  if not current[stamp] and not told[doc] and size < 1048576 then
    local text = doc == 0 and redis.call('GET', KEYS[1]) or doc ~= 0 and held[1 + doc] or ''
    told[doc], size = true, size + #text
    reply[#reply + 1] = doc
    reply[#reply + 1] = text
  end
end
for i = 1, repeats and #repeats or 0 do reply[#reply + 1] = repeats[i] end
return reply
