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
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/permitd/permitd/limiter"
)

// Options of a [Store]; the zero value is ready for use.
type Options struct {
	// Clock is the store's time. Default: the system's.
	Clock func() limiter.Instant
	// MaxCounters bounds the memory: counters of about 250 bytes, and records of holds and idempotency keys of about a
	// kilobyte, which are kept for their time even when they are closed. An ask that needs a counter more is answered with
	// [limiter.ErrOverloaded]; counters that are still owed are never dropped to make room. Default: 4,194,304.
	MaxCounters int
}

const (
	shardCount         = 256 // what a byte counts
	defaultMaxCounters = 4 << 20
	sweepStep          = 2  // counters looked at after each charge, and for each counter that it made
	sweepHard          = 64 // counters looked at in a shard when there is no room for another,
	sweepShards        = 16 // and how many shards beside the ask's own
)

// Store is a [limiter.Store] in memory.
type Store struct {
	clock     func() limiter.Instant
	max       int64
	count     atomic.Int64  // counters held
	hand      atomic.Uint32 // where the search for room goes on
	seed      maphash.Seed
	shards    [shardCount]shard
	holds     records[limiter.Hold]
	grants    records[limiter.Grant] // by provider and Once
	names     names
	documents documents
}

var _ limiter.Store = (*Store)(nil)

// New is an empty store.
func New(o Options) *Store {
	if o.Clock == nil {
		o.Clock = func() limiter.Instant { return limiter.InstantOf(time.Now()) }
	}
	if o.MaxCounters <= 0 {
		o.MaxCounters = defaultMaxCounters
	}
	s := &Store{clock: o.Clock, max: int64(o.MaxCounters), seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].counters = map[counterKey]*counter{}
	}
	s.names.sets = map[namesOf]*noted{}
	s.holds.init()
	s.grants.init()
	return s
}

// Len is how many counters are held.
func (s *Store) Len() int { return int(s.count.Load()) }

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
	missing, granted := 0, true
	for i := range c.Lines {
		l, at := &c.Lines[i], &places[i]
		var state limiter.State
		if at.counter, state = s.shards[at.shard].find(keyOf(c.Provider, l), c.Outcome.Now); at.counter == nil && l.Cost > 0 {
			missing++
		}
		l.State = l.Terms.Advance(state, c.Outcome.Now, l.Window)
		l.Fits = l.Terms.Fits(l.State, l.Needs())
		granted = granted && (l.Fits || l.Terms.Limit.Mode == limiter.Shadow)
	}
	switch {
	case !granted:
		c.Outcome.Verdict = limiter.Denied
		restamp(c, places)
	case c.DryRun:
		c.Outcome.Verdict = limiter.Granted
	case !s.room(c, missing, held):
		c.Outcome.Err = limiter.ErrOverloaded
	default:
		c.Outcome.Verdict = limiter.Granted
		s.charge(c, places)
		s.names.note(c)
		for i := range held.all() {
			s.count.Add(-s.shards[i].sweep(sweepStep*(1+missing), c.Outcome.Now, limiter.State.Expired))
		}
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
			counter := s.counter(c, l, at)
			counter.take(c.PermitID, l.Cost, c.Outcome.Now.Later(c.Hold.TTL))
			l.State = counter.state
			continue
		}
		before := l.State.Total
		l.State = l.Terms.Charge(l.State, l.Cost)
		if receipts != nil {
			receipts[i] = limiter.Receipt{Total: l.State.Total, Mark: l.State.Mark, Units: l.State.Total - before}
		}
		s.counter(c, l, at).state = l.State
	}
	if c.Hold != nil {
		s.keep(c, receipts)
	}
}

// counter is that of a line, made if there is none.
func (s *Store) counter(c *limiter.Charge, l *limiter.Line, at *place) *counter {
	if at.counter == nil {
		at.counter = s.shards[at.shard].add(keyOf(c.Provider, l))
		s.count.Add(1)
	}
	return at.counter
}

// restamp writes the states of a denied charge that moved.
func restamp(c *limiter.Charge, places []place) {
	for i := range c.Lines {
		if k := places[i].counter; k != nil && k.state.Moved(c.Lines[i].State) {
			k.state = c.Lines[i].State
		}
	}
}

// room reports whether a charge may make so many more counters, and its records. When memory is short, counters that are
// spent go at once rather than after their time of grace.
func (s *Store) room(c *limiter.Charge, counters int, held shardSet) bool {
	now, more := c.Outcome.Now, int64(counters)
	if c.Hold != nil {
		more++
	}
	if c.Once != nil {
		more++
	}
	if more == 0 {
		return true
	}
	for i := range held.all() {
		if s.count.Load()+more <= s.max {
			return true
		}
		s.count.Add(-s.shards[i].sweep(sweepHard, now, limiter.State.Drained))
	}
	for range sweepShards {
		if s.count.Load()+more <= s.max {
			return true
		}
		// Locks are held, so waiting for another out of order could deadlock: a shard that is busy is passed over.
		if other := &s.shards[s.hand.Add(1)%shardCount]; other.TryLock() {
			s.count.Add(-other.sweep(sweepHard, now, limiter.State.Drained))
			other.Unlock()
		}
	}
	return s.count.Load()+more <= s.max
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
