// Package memstore keeps counters and documents in memory: the store of a single instance that runs without Redis, and
// the oracle that other stores are tested against. What it holds is gone when the process ends.
//
// Counters live in shards by their subject, so that one ask locks at most as many shards as it has subjects: the
// provider, a pool, a key. Shards are locked in order, all before the first counter is read, which makes a decision
// over several limits one atomic step. Nothing runs in the background: every charge looks at a few counters of its
// shard and forgets those that are spent, so no decision ever waits for a long sweep.
package memstore

import (
	"context"
	"hash/maphash"
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/permitd/permitd/limiter"
)

// Options of a [Store]; the zero value is ready for use.
type Options struct {
	// Clock is the store's time. Default: the system's.
	Clock func() limiter.Instant
	// Memory bounds counters, about 350 bytes each, and records of holds and idempotency keys, about 250 and 5 to 15 for each
	// limit, which are kept for their time even when they are closed. An ask that needs more is answered with
	// [limiter.ErrOverloaded]; counters that hold usage are never dropped to make room. Default: [limiter.DefaultMemory], shared
	// with nobody.
	Memory *limiter.Memory
}

const shardCount = 256 // what a byte counts

// Store is a [limiter.Store] in memory.
type Store struct {
	clock     func() limiter.Instant
	memory    *limiter.Memory
	stop      func()        // nobody sweeps it any more
	hand      atomic.Uint32 // where the search for room goes on
	seed      maphash.Seed
	shards    [shardCount]shard
	holds     records
	grants    records // by provider and Once
	names     names
	documents documents
}

var _ limiter.Store = (*Store)(nil)

// New is an empty store.
func New(o Options) *Store {
	if o.Clock == nil {
		o.Clock = func() limiter.Instant { return limiter.InstantOf(time.Now()) }
	}
	if o.Memory == nil {
		o.Memory = limiter.NewMemory(limiter.DefaultMemory)
	}
	s := &Store{clock: o.Clock, memory: o.Memory, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].memory = o.Memory
	}
	s.names.sets, s.names.memory, s.names.seed = map[namesOf]*noted{}, o.Memory, s.seed
	s.holds.init(o.Memory)
	s.grants.init(o.Memory)
	s.stop = o.Memory.Sweeps(s.sweep)
	return s
}

// Discard drops all counters, holds and grants, so that their bytes are given back. The store is not used any more.
func (s *Store) Discard() {
	s.stop()
	s.names.Lock()
	s.names.sweep(math.MaxInt64)
	s.names.Unlock()
	all := func(limiter.State, limiter.Instant) bool { return true }
	for i := range s.shards {
		shard := &s.shards[i]
		shard.Lock()
		shard.sweep(len(shard.counters.items), 0, all)
		shard.Unlock()
		for _, of := range []*records{&s.holds, &s.grants} {
			shard := &of.shards[i]
			shard.Lock()
			shard.sweep(len(shard.table.items), math.MaxInt64)
			shard.Unlock()
		}
	}
}

// Len returns how many counters, holds and grants are kept.
func (s *Store) Len() (n int) {
	for i := range s.shards {
		shard := &s.shards[i]
		shard.Lock()
		n += len(shard.counters.items)
		shard.Unlock()
		for _, of := range []*records{&s.holds, &s.grants} {
			shard := &of.shards[i]
			shard.Lock()
			n += len(shard.table.items)
			shard.Unlock()
		}
	}
	return n
}

// Patience implements [limiter.Store]: nothing here waits for anything but a lock.
func (s *Store) Patience() time.Duration { return 0 }

// Decide implements [limiter.Store].
func (s *Store) Decide(ctx context.Context, charges []*limiter.Charge) {
	for _, c := range charges {
		if err := context.Cause(ctx); err != nil {
			c.Outcome = limiter.Outcome{Err: err}
			continue
		}
		s.decide(c)
	}
}

func (s *Store) decide(c *limiter.Charge) {
	var few [limiter.MaxLimitsPerAsk]place
	places := few[:]
	if len(c.Lines) > len(few) { // a look at every limit of a provider
		places = make([]place, len(c.Lines))
	}
	held := s.shardsOf(c, places)
	s.lock(held)
	defer s.unlock(held)

	c.Outcome = limiter.Outcome{}
	current := s.documents.provider(c.Provider).current(c)
	c.Outcome.Now = s.clock()
	switch {
	case c.Outcome.Now > c.NotAfter:
		c.Outcome.Verdict = limiter.Late
	case c.Once != nil:
		s.decideOnce(c, current, places, held)
	default:
		s.decideNow(c, current, places, held)
	}
}

// decideNow decides a charge that comes in time, and was resolved under the documents that are current or not.
func (s *Store) decideNow(c *limiter.Charge, current bool, places []place, held shardSet) {
	if len(c.Names) > 0 {
		s.names.Lock()
		defer s.names.Unlock()
	}
	switch {
	case !current:
		c.Outcome.Verdict = limiter.Stale
	case s.crowded(c, places):
		c.Outcome.Verdict = limiter.Crowded
	case !s.windowsHold(c, c.Outcome.Now):
		c.Outcome.Verdict = limiter.Late
	default:
		s.admit(c, places, held)
	}
}

// windowsHold reports whether the window of every quota line holds now.
func (s *Store) windowsHold(c *limiter.Charge, now limiter.Instant) bool {
	for i := range c.Lines {
		l := &c.Lines[i]
		if l.Terms != nil && l.Terms.Limit.Kind == limiter.KindQuota && !l.Window.Contains(now) {
			return false
		}
	}
	return true
}

// place is where the counter of a line is, or would be.
type place struct {
	counter *counter
	shard   uint8
}

// admit grants or denies, and writes what that changes.
func (s *Store) admit(c *limiter.Charge, places []place, held shardSet) {
	missing, granted, now := 0, true, c.Outcome.Now
	for i := range c.Lines {
		l, at := &c.Lines[i], &places[i]
		var state limiter.State
		if at.counter, state = s.shards[at.shard].find(keyOf(c.Provider, l), now); at.counter == nil && l.Cost > 0 {
			missing++
		}
		l.State = l.Terms.Advance(state, now, l.Window)
		l.Fits = l.Terms.Fits(l.State, l.Needs())
		granted = granted && (l.Fits || l.Terms.Limit.Mode == limiter.Shadow)
	}
	switch {
	case !granted:
		c.Outcome.Verdict = limiter.Denied
		s.restamp(c, places)
		return
	case c.DryRun:
		c.Outcome.Verdict = limiter.Granted
		return
	}
	most := s.need(c, places)
	if !s.room(most, now, held) {
		c.Outcome.Err = limiter.ErrOverloaded
		return
	}
	c.Outcome.Verdict = limiter.Granted
	s.charge(c, places)
	s.names.note(c)
	s.memory.Add(-most) // what was charged has taken its own
	for i := range held.all() {
		s.shards[i].sweep(sweepStep*(1+missing), now, limiter.State.Expired)
	}
}

// charge writes the cost of every line, and keeps a record if that is asked for.
func (s *Store) charge(c *limiter.Charge, places []place) {
	var receipts []limiter.Receipt
	if c.Hold != nil {
		receipts = make([]limiter.Receipt, len(c.Lines))
	}
	for i := range c.Lines {
		l, at := &c.Lines[i], &places[i]
		if l.Cost == 0 {
			continue
		}
		if l.Terms.Limit.Kind == limiter.KindConcurrency {
			counter := s.counter(c, places, i)
			s.shards[at.shard].take(counter, c.PermitID, l.Cost, c.Outcome.Now.Later(c.Hold.TTL))
			l.State = counter.state
			continue
		}
		before := l.State.Total
		l.State = l.Terms.Charge(l.State, l.Cost)
		if receipts != nil {
			receipts[i] = limiter.Receipt{Total: l.State.Total, Mark: l.State.Mark, Units: l.State.Total - before}
		}
		s.shards[at.shard].set(s.counter(c, places, i), l.State)
	}
	if c.Hold != nil {
		s.keep(c, receipts)
	}
}

// counter is that of the i-th line, made if there is none.
func (s *Store) counter(c *limiter.Charge, places []place, i int) *counter {
	at := &places[i]
	if at.counter == nil {
		var beside *counter
		if i > 0 {
			beside = places[i-1].counter
		}
		at.counter = s.shards[at.shard].add(keyOf(c.Provider, &c.Lines[i]), beside)
	}
	return at.counter
}

// restamp writes the states of a denied charge that moved.
func (s *Store) restamp(c *limiter.Charge, places []place) {
	for i := range c.Lines {
		if k := places[i].counter; k != nil && k.state.Moved(c.Lines[i].State) {
			s.shards[places[i].shard].set(k, c.Lines[i].State)
		}
	}
}

// shardSet are the shards of a charge, a bit for each, so that they can be locked in order.
type shardSet [shardCount / 64]uint64

// all are the shards in the set, in order.
func (h shardSet) all() iter.Seq[uint8] {
	return func(yield func(uint8) bool) {
		for i, word := range h {
			for ; word != 0; word &= word - 1 {
				if !yield(uint8(64*i + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// shardsOf notes the shard of every line.
func (s *Store) shardsOf(c *limiter.Charge, places []place) (held shardSet) {
	for i := range c.Lines {
		subject := c.Lines[i].Subject
		switch {
		case i > 0 && subject == c.Lines[i-1].Subject:
			places[i].shard = places[i-1].shard
			continue
		case subject == "":
			subject = c.Provider
		}
		at := uint8(maphash.String(s.seed, subject) % shardCount)
		places[i].shard = at
		held[at/64] |= 1 << (at % 64)
	}
	return held
}

func (s *Store) lock(held shardSet) {
	for i := range held.all() {
		s.shards[i].Lock()
	}
}

func (s *Store) unlock(held shardSet) {
	for i := range held.all() {
		s.shards[i].Unlock()
	}
}

// barrier returns once every decision that was under way when it was called has ended.
func (s *Store) barrier() {
	for i := range s.shards {
		s.shards[i].Lock()
		//lint:ignore SA2001 waiting for the lock is all this is for
		s.shards[i].Unlock()
	}
}
