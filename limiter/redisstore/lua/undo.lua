-- Takes back asks of the lane's call seq whose callers are gone: those that ARGV[5] marks with a 1. A call that has not
-- come here yet will find that it was given up. Either happens once, however often this is sent.
local record = held[1]
local last = record and parse('<d', record) or 0
if last > seq or last == seq and #record == 8 then return 0 end

local kept = 0 -- lines that could not be taken back
if last == seq then
  local at, pos = parse('<d', record, 9), 1
  local from = 17
  for a = 1, asks do
    local policy, key, pool, _, _, n
    policy, key, pool, _, _, n, pos = parse('<HHHdBB', askBlob, pos)
    local verdict = parse('<B', record, from)
    from = from + 1
    for i = 1, n do
      local t, c, cost
      t, c, cost, pos = parse('<HHd', askBlob, pos)
      if verdict == 1 or verdict == 2 or verdict == 5 then
        local _, second, n, flags = parse('<I7I7I7B', record, from)
        from = from + 22
        if verdict == 1 and cost > 0 and flags < 2 and sub(ARGV[5], a, a) == '1' then
          if current[policy] and current[key] and current[pool] then
            advance(c, t)
            refund(c, t, n, windowEnd[t] and second or at, cost)
          else -- edited since: at which rate it drained is not known here
            kept = kept + 1
          end
        end
      end
    end
  end
  write()
end
redis.call('SET', KEYS[2], pack('<d', seq), 'PX', lifetime(DAY))
return kept
