package limiter

import (
	"crypto/sha256"
	"hash/maphash"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Other stands for all keys without an entry, or all models, that came when a provider's policy allows no more of them.
// They share the counters of this name. It is neither a key id nor the subject of a pool.
const Other = "_other"

// NameKind says what a [Name] names.
type NameKind uint8

// The kinds of names that clients choose.
const (
	KeyName      NameKind = iota // a key without an entry
	ModelName                    // a model, at limits that count each model apart
	KeyModelName                 // a model of a key without an entry, at limits that count both apart
	NameKinds    = 3             // how many kinds there are
)

// Name is a name in a charge that a client chose, and for which a store may have to make counters. A store notes names for
// a time, so that no more than Most of a kind have counters of their own.
type Name struct {
	Kind   NameKind
	Hash   NameHash      // stands for the name
	Most   int64         // how many names of the kind the provider may have
	Period time.Duration // a name is noted until the period after the one in which it was last charged ends
	Lines  uint64        // a bit for each line of the charge whose counter is the name's
	Charge bool          // the charge makes counters if it is granted: the name is then noted
}

// NameHash stands for a name of one kind at one provider. It is the same on every instance, and everybody can compute it: a
// store that sorts names by it has to mix in something secret.
type NameHash [16]byte

// PeriodEnd is when the period of a name ends that now is in. Periods are counted from the epoch of the store's clock.
func PeriodEnd(now Instant, period time.Duration) Instant {
	n := Instant(period / time.Microsecond)
	return now - now%n + n
}

// Crowd is a set of kinds of names.
type Crowd uint8

// Has reports whether a kind is in the set.
func (c Crowd) Has(k NameKind) bool { return c&(1<<k) != 0 }

// With is the set with a kind more.
func (c Crowd) With(k NameKind) Crowd { return c | 1<<k }

// keyModels is how many pairs of a key without an entry and a model a provider may have for each such key.
const keyModels = 4

// naming is what a policy says of names that clients choose.
type naming struct {
	most   [NameKinds]int64
	period time.Duration
}

// newNaming reads it off a policy. The period is at least as long as a counter of the policy lives when it is charged no
// more, so that a name that has a counter is noted.
func newNaming(p *Policy, terms []*Terms) naming {
	n := naming{[NameKinds]int64{p.MaxUnknownKeys, p.MaxModels, keyModels * p.MaxUnknownKeys}, time.Hour}
	life := time.Duration(0)
	for _, t := range terms {
		life = max(life, t.life())
	}
	for n.period < life { // few different ones, since an edit that changes it has names noted anew
		n.period *= 2
	}
	return n
}

// name has names that are too many be counted as [Other], and lists those that the store may have to note. seen tells which
// the store has noted; nil: none.
func (a *attempt) name(k known, seen *seenNames) {
	c := &a.charge
	c.Names = c.Names[:0]
	var lines [NameKinds]uint64
	charged, settles := uint64(0), c.Hold != nil || a.wantsHold()
	for i := range c.Lines {
		l := &c.Lines[i]
		byKey := k.key == nil && l.Subject == k.keyID && l.Subject != ""
		switch {
		case l.Model == "" || l.Model == Other:
		case a.crowd.Has(ModelName), byKey && a.crowd.Has(KeyModelName) && !a.crowd.Has(KeyName):
			l.Model = Other
		default:
			a.model = l.Model
			lines[ModelName] |= 1 << i
		}
		if byKey && a.crowd.Has(KeyName) {
			l.Subject, byKey = Other, false
		}
		if byKey {
			lines[KeyName] |= 1 << i
		}
		if (l.Cost > 0 || settles) && !c.DryRun { // settling may make the counter of a line that costs nothing yet
			charged |= 1 << i
		}
	}
	lines[KeyModelName] = lines[KeyName] & lines[ModelName]
	for kind, of := range lines {
		if of == 0 {
			continue
		}
		n := Name{Kind: NameKind(kind), Most: k.policy.naming.most[kind], Period: k.policy.naming.period, Lines: of, Charge: of&charged != 0}
		id := a.nameID(n.Kind)
		if !seen.has(id, n.Period, a.now) {
			n.Hash = id.hash()
			c.Names = append(c.Names, n)
		}
	}
}

// nameID is a name in full.
type nameID struct{ provider, key, model string }

func (a *attempt) nameID(k NameKind) nameID {
	id := nameID{provider: a.charge.Provider}
	if k != ModelName {
		id.key = a.charge.KeyID
	}
	if k != KeyName {
		id.model = a.model
	}
	return id
}

func (id nameID) hash() NameHash {
	sum := sha256.Sum256([]byte(id.key + "\x00" + id.model))
	return NameHash(sum[:])
}

// seenNames are names that this instance saw the store note lately, so that it has the store look at each but now and then.
// It keeps their hashes alone, since names may be long, under a seed of its own, so that nobody can choose two that are alike.
type seenNames struct {
	seed  maphash.Seed
	until *lru.Cache[uint64, notedUntil]
}

// notedUntil is when a name has to be noted again: when a period of that length ends.
type notedUntil struct {
	period time.Duration
	at     Instant
}

const maxSeenNames = 1 << 16

func newSeenNames() *seenNames {
	until, err := lru.New[uint64, notedUntil](maxSeenNames)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &seenNames{maphash.MakeSeed(), until}
}

func (s *seenNames) has(id nameID, period time.Duration, now Instant) bool {
	if s == nil {
		return false
	}
	n, ok := s.until.Get(maphash.Comparable(s.seed, id))
	return ok && n.period == period && now < n.at
}

// learn takes in which names of a charge that was granted the store has noted.
func (s *seenNames) learn(a *attempt) {
	for i := range a.charge.Names {
		if n := &a.charge.Names[i]; n.Charge {
			until := notedUntil{n.Period, PeriodEnd(a.charge.Outcome.Now, n.Period)}
			s.until.Add(maphash.Comparable(s.seed, a.nameID(n.Kind)), until)
		}
	}
}

// other reports whether a line is counted with those that are too many.
func (l *Line) other() bool { return l.Subject == Other || l.Model == Other }

// life is for how long at most a store keeps a counter that is charged no more.
func (t *Terms) life() time.Duration {
	switch l := t.Limit; l.Kind {
	case KindRate:
		most := State{Used: t.Overdraft(), Rate: t.Schedule.current().Rate}.waitFor(0)
		return most + 2*retention(most) // a store may put off for one more that it keeps a counter longer
	case KindQuota:
		return l.Calendar.Period.longest()
	}
	return MaxHoldLife
}

// longest is how long a window of the period lasts at most, where clocks are set back by no more than two hours.
func (p Period) longest() time.Duration {
	const day, setback = 24 * time.Hour, 2 * time.Hour
	switch p {
	case Hour:
		return time.Hour + setback
	case Day:
		return day + setback
	case Week:
		return 7*day + setback
	}
	return 31*day + setback
}
