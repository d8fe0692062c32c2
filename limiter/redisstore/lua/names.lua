-- Names that clients chose, of keys without an entry and of models, are noted in sets, so that only so many of a provider have
-- counters of their own. A name is noted in the set of this period and in that of the next, and its counters live no longer
-- than a period: so one that has a counter is in the set of the period, or is about to be. Sets are cut in parts, each a
-- list of whole numbers of which Redis makes a few bytes, with a count of all parts beside them.
--
-- ARGV[5] has for each name its ask, kind, hash (below 2^52), how many of the kind there may be, the length of its period in
-- microseconds, whether it is to be noted once the ask is granted, and its counters in the ask.
local newcomers, crowded, note
if ARGV[5] ~= '' then
  newcomers = {}
  local PARTS = {[0] = 4096, 4, 4096} -- by kind: of a million names, a part has 256
  local base, pos = sub(KEYS[1], 1, -7), 1 -- without "policy"
  while pos <= #ARGV[5] do
    local name, ask, counters = {}, nil, nil
    ask, name.kind, name.hash, name.most, name.period, name.charge, counters, pos = parse('<HBdddBB', ARGV[5], pos)
    for i = 1, counters do name[i], pos = parse('<H', ARGV[5], pos) end
    newcomers[ask] = newcomers[ask] or {}
    newcomers[ask][#newcomers[ask] + 1] = name
  end

  -- placed fills in where a name is noted: the end of this period, and what stands for it in which part of a set.
  local function placed(name)
    local parts = PARTS[name.kind]
    name.ends = now - now % name.period + name.period
    name.part = name.hash % parts
    name.member = string.format('%.0f', (name.hash - name.part) / parts)
  end

  local function set(name, ends, part) return base .. 'n' .. name.kind .. ':' .. string.format('%.0f', ends) .. part end

  local function live(name)
    for i = 1, #name do
      if held[1 + entries + name[i]] or s[8 * name[i] - 1] then return true end
    end
    return false
  end

  -- crowded is the set of kinds of which an ask's names are too many, in bits.
  crowded = function(ask)
    local names, kinds = newcomers[ask] or {}, 0
    for _, name in ipairs(names) do
      placed(name)
      local part = set(name, name.ends, ':' .. name.part)
      name.noted = redis.call('SISMEMBER', part, name.member) == 1
      if not name.noted and not live(name) then
        -- The least that a part has room for keeps names whose hashes were chosen from filling one.
        if tonumber(redis.call('GET', set(name, name.ends, '')) or 0) >= name.most
            or redis.call('SCARD', part) >= 64 + 4 * name.most / PARTS[name.kind] then
          kinds = kinds + 2 ^ name.kind
        end
      end
    end
    names.crowd = kinds
    return kinds
  end

  local function add(name, ends)
    local part, all = set(name, ends, ':' .. name.part), set(name, ends, '')
    if redis.call('SADD', part, name.member) == 0 then return end
    local left = math.max(shortest, math.ceil((ends - now) / 1000))
    if redis.call('SCARD', part) == 1 then redis.call('PEXPIRE', part, left) end
    if redis.call('INCR', all) == 1 then redis.call('PEXPIRE', all, left) end
  end

  -- note notes the names of an ask that is granted.
  note = function(ask)
    for _, name in ipairs(newcomers[ask] or {}) do
      if name.charge == 1 then
        if not name.noted then add(name, name.ends) end
        add(name, name.ends + name.period)
      end
    end
  end
end
