-- Names that clients chose, of keys without an entry and of models, are noted in sets, so that only so many of a provider have
-- counters of their own. A name is noted in the set of this period and in that of the next, and its counters live no longer
-- than a period: so one that has a counter is in the set of the period, or is about to be. Sets are cut in parts, each a
-- list of whole numbers of which Redis makes a few bytes, with a count of all parts beside them.
--
-- In which part a name is, and what stands for it there, depends on a seed that is kept with the count. Clients never see
-- it, so nobody can choose names that fill a part.
--
-- ARGV[5] begins with 16 random bytes, the seed of sets that are new. Then it has for each name its ask, kind, hash, how many
-- of the kind there may be, the length of its period in microseconds, whether it is to be noted once the ask is granted, and
-- its counters in the ask.
local newcomers, crowded, note
if ARGV[5] ~= '' then
  newcomers = {}
  local PARTS = {[0] = 4096, 4, 4096} -- by kind: of a million names, a part has about 250
  local SEED = 16
  local base, pos, sets = sub(KEYS[1], 1, -7), SEED + 1, {} -- without "policy"
  while pos <= #ARGV[5] do
    local name, ask, counters = {}, nil, nil
    ask, name.kind, name.hash, name.most, name.period, name.charge, counters, pos = parse('<HBc16ddBB', ARGV[5], pos)
    for i = 1, counters do name[i], pos = parse('<H', ARGV[5], pos) end
    newcomers[ask] = newcomers[ask] or {}
    newcomers[ask][#newcomers[ask] + 1] = name
  end

  -- setOf returns the set of names of a kind in the period that ends then.
  local function setOf(kind, ends)
    local key = base .. 'n' .. kind .. ':' .. string.format('%.0f', ends)
    if not sets[key] then
      local stored = redis.call('GET', key) or sub(ARGV[5], 1, SEED) .. 0
      sets[key] = {key = key, ends = ends, seed = sub(stored, 1, SEED), count = tonumber(sub(stored, SEED + 1))}
    end
    return sets[key]
  end

  -- placed returns the part of a set that a name belongs in, and what stands for it there.
  local function placed(name, set)
    local digest = redis.sha1hex(set.seed .. name.hash)
    local part = tonumber(sub(digest, 1, 3), 16) % PARTS[name.kind]
    return set.key .. ':' .. part, string.format('%.0f', tonumber(sub(digest, 4, 15), 16))
  end

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
      name.set = setOf(name.kind, now - now % name.period + name.period)
      name.noted = redis.call('SISMEMBER', placed(name, name.set)) == 1
      if not name.noted and name.set.count >= name.most and not live(name) then kinds = kinds + 2 ^ name.kind end
    end
    names.crowd = kinds
    return kinds
  end

  local function add(name, set)
    local part, member = placed(name, set)
    if redis.call('SADD', part, member) == 0 then return end
    local left = math.max(shortest, math.ceil((set.ends - now) / 1000))
    if redis.call('SCARD', part) == 1 then redis.call('PEXPIRE', part, left) end
    set.count = set.count + 1
    redis.call('SET', set.key, set.seed .. set.count, 'PX', left)
  end

  -- note notes the names of an ask that is granted.
  note = function(ask)
    for _, name in ipairs(newcomers[ask] or {}) do
      if name.charge == 1 then
        if not name.noted then add(name, name.set) end
        add(name, setOf(name.kind, name.set.ends + name.period))
      end
    end
  end
end
