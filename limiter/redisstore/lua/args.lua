-- What the scripts are called with, as batch.go writes it. All numbers of a call are read at once: Redis makes the
-- functions and tables of a script anew for each call, so there are few of either.
--
-- KEYS: the policy, the lane (of close.lua, the hold), entries, counters, grants that are to be made once, holds that
-- are made.
-- ARGV: a format and what it formats; the format of the answer; the schedules of rates; what a script has of its own; the
-- bodies of holds; those of grants.
local parse, pack, sub = struct.unpack, struct.pack, string.sub
local LIMIT = 4000000000000000 -- of every count of units
local EXACT = 9007199254740992 -- from here on doubles skip whole numbers
local MANY, GRANT_HEAD = 255, 41 -- of a grant that is remembered: more are not counted; where its lines begin

local a = {parse(ARGV[1], ARGV[2])}
local seq, entries, stamps, terms, onces, holds, asks, at = a[1], a[2], a[3], a[4], a[5], a[6], a[7], 7

local held = redis.call('MGET', unpack(KEYS, 2, #KEYS - holds))
local policyHead = redis.call('GETRANGE', KEYS[1], 0, 64)

-- Stamps are a document (0 the policy, then the entries) and the tag it should have. Is it the document's? Number 0 is
-- no document at all.
local current = {[0] = true}
for n = 1, stamps do
  local doc, tag = a[at + 1], a[at + 2]
  local head = doc == 0 and policyHead or held[1 + doc] or ''
  if tag == '' then
    current[n] = head == ''
  else
    current[n] = sub(head, 1, #tag + 1) == tag .. '\n'
  end
  at = at + 2
end

-- Terms are 7 numbers each: burst, the most that may be owed, whether a shadow, the kind (0 rate, 1 quota, 2 concurrency);
-- of a rate the change in force: since when, units, per; of a quota its window and when the next one ends. a[termsAt+7*n+1] is the first of the n-th.
local termsAt = at - 7
at = at + 7 * terms

-- Holds are 2 numbers each: for how long, in microseconds, and for how long after that the record is kept, in
-- milliseconds. KEYS[holdKey+n] is that of the n-th.
local holdsAt, holdKey = at - 2, #KEYS - holds
at = at + 2 * holds

-- Grants that are to be made once are a number each: for how long the grant is remembered, in milliseconds. KEYS[onceKey+n]
-- is that of the n-th, held[onceKey-1+n] what is remembered.
local oncesAt, onceKey = at, holdKey - onces
at = at + onces

-- Counters, once advanced to now, are 8 fields each: used, part, mark, total, refunds (packed), whether to be written
-- though nothing was charged, the terms to be written under, and until when Redis keeps the counter as it is (of a quota:
-- whether it does). Of concurrency mark is when the last slot expires, total when the first does, and the last field how many
-- entries have expired; the next key after the counter's is a sorted set of slots by when they expire, each named for its
-- permit and how many it takes. s[8*n-7] is the first of the n-th, held[1+entries+n] what was stored.
local s, dirty = {}, {}
