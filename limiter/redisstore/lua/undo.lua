-- Takes back asks of the lane's call seq whose callers are gone: those that ARGV[5] marks with a 1. A call that has not
-- come here yet will find that it was given up. Either happens once, however often this is sent. A grant that was repeated
-- to another caller stays.
local record = held[1]
local last = record and parse('<d', record) or 0
if last > seq or last == seq and #record == 8 then return 0 end

local kept = 0 -- lines that could not be taken back
if last == seq then
  local moment, out, o = parse('<d', record, 9), {parse(ARGV[3], record, 17)}, 0
  for ask = 1, asks do
    local known = current[a[at + 1]] and current[a[at + 2]] and current[a[at + 3]]
    local lost = out[o + 1] == 1 and sub(ARGV[5], ask, ask) == '1'
    o = o + 1
    local hold, once = a[at + 5] - 1, a[at + 6]
    local grant = once > 0 and held[onceKey - 1 + once]
    if once > 0 and not (grant and sub(grant, 1, 1) == '0' and parse('<d', grant, 10) == moment) then
      lost = false -- somebody was told of it since, or may have been
    end
    if lost and grant then redis.call('DEL', KEYS[onceKey + once]) end
    if lost and hold > 0 then redis.call('DEL', KEYS[holdKey + hold]) end
    local first = at + 8
    at = at + 7 + 3 * a[at + 7]
    for j = first, at, 3 do
      local n, k, cost = a[j], 8 * a[j + 1] - 8, a[j + 2]
      if lost and cost > 0 and out[o + 4] < 2 then
        local kind = a[termsAt + 7 * n + 4]
        if kind == 2 then
          if not s[k + 1] then advance(k, n) end
          free(k, n, sub(KEYS[holdKey + hold], -22), cost)
        elseif kind == 1 or known then
          if not s[k + 1] then advance(k, n) end
          refund(k, n, out[o + 3], kind == 1 and out[o + 2] or moment, cost)
        else -- edited since: at which rate it drained is not known here
          kept = kept + 1
        end
      end
      o = o + 4
    end
  end
end
redis.call('SET', KEYS[2], pack('<d', seq), 'PX', 86400000)
