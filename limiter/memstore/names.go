package memstore

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/internal/size"
)

// names are those that clients chose and that were charged lately. Its lock is taken after those of counters.
type names struct {
	sync.Mutex
	memory *limiter.Memory
	seed   maphash.Seed
	sets   map[namesOf]*noted
}

// namesOf are the names of one kind that asks for a provider had.
type namesOf struct {
	provider string
	kind     limiter.NameKind
}

// noted are names by what [names.key] makes of them: those of this period and the one before, and those of this period alone. When it ends the
// former go, all at once.
type noted struct {
	period    time.Duration
	ends      limiter.Instant
	now, next map[uint64]struct{}
}

// key is short, and nobody can choose names that have the same.
func (s *names) key(n *limiter.Name) uint64 { return maphash.Bytes(s.seed, n.Hash[:]) }

// at is where a name is noted. The lock is held.
func (s *names) at(provider string, n *limiter.Name, now limiter.Instant) *noted {
	of, ends := namesOf{provider, n.Kind}, limiter.PeriodEnd(now, n.Period)
	set := s.sets[of]
	switch {
	case set == nil || set.period != n.Period || set.ends.Later(n.Period) < ends:
		s.drop(set)
		set = &noted{now: map[uint64]struct{}{}, next: map[uint64]struct{}{}}
		s.sets[of] = set
	case set.ends < ends:
		s.memory.Add(-nameBytes * int64(len(set.now)))
		set.now, set.next = set.next, map[uint64]struct{}{}
	}
	set.period, set.ends = n.Period, max(set.ends, ends)
	return set
}

// crowded fills in the kinds of which a charge has names that are too many, and reports whether there are any.
func (s *Store) crowded(c *limiter.Charge, places []place) bool {
	for i := range c.Names {
		n := &c.Names[i]
		set := s.names.at(c.Provider, n, c.Outcome.Now)
		if _, is := set.now[s.names.key(n)]; !is && int64(len(set.now)) >= n.Most && !s.live(c, n, places) {
			c.Outcome.Crowd = c.Outcome.Crowd.With(n.Kind)
		}
	}
	return c.Outcome.Crowd != 0
}

// live reports whether any of a name's lines has a counter.
func (s *Store) live(c *limiter.Charge, n *limiter.Name, places []place) bool {
	for rest := n.Lines; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		if counter, _ := s.shards[places[i].shard].find(keyOf(c.Provider, &c.Lines[i]), c.Outcome.Now); counter != nil {
			return true
		}
	}
	return false
}

// note notes the names of a charge that is granted. The lock is held.
func (s *names) note(c *limiter.Charge) {
	for i := range c.Names {
		if n := &c.Names[i]; n.Charge {
			set := s.at(c.Provider, n, c.Outcome.Now)
			was := len(set.now) + len(set.next)
			key := s.key(n)
			set.now[key], set.next[key] = struct{}{}, struct{}{}
			s.memory.Add(nameBytes * int64(len(set.now)+len(set.next)-was))
		}
	}
}

// nameBytes is what a name takes in a set.
var nameBytes = size.MapEntry(8)

// drop gives back what a set takes that is no longer used; it may be nil. The lock is held.
func (s *names) drop(set *noted) {
	if set != nil {
		s.memory.Add(-nameBytes * int64(len(set.now)+len(set.next)))
	}
}

// sweep drops the sets that were over before a moment. The lock is held.
func (s *names) sweep(now limiter.Instant) {
	for of, set := range s.sets {
		if set.ends.Later(set.period) <= now {
			s.drop(set)
			delete(s.sets, of)
		}
	}
}
