-- Store.List: KEYS are entries. ARGV: the bytes with which a piece of them ends.
local docs, size = {}, 0
for i = 1, #KEYS do
  docs[i] = redis.call('GET', KEYS[i]) or ''
  size = size + #docs[i]
  if size >= tonumber(ARGV[1]) then break end
end
return docs
