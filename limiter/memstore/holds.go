package memstore

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/permitd/permitd/limiter"
)

// holds keeps the records of permits, in shards by permit id. A record goes when its time is over: each new one looks at
// a few others of its shard. The lock of a shard is taken last, after those of counters.
type holds struct{ shards [shardCount]holdShard }

type holdShard struct {
	sync.Mutex
	records map[string]*record
	order   []*record
	hand    int
}

type record struct {
	permitID string
	hold     limiter.Hold
}

func (h *holds) init() {
	for i := range h.shards {
		h.shards[i].records = map[string]*record{}
	}
}

// gone is when a record is no longer kept.
func (r *record) gone(now limiter.Instant) bool {
	return now >= r.hold.Expires+limiter.Instant(r.hold.Keep/time.Microsecond)
}

// add keeps a record, and returns how many others it found to be over.
func (s *holdShard) add(r *record, now limiter.Instant) (forgotten int64) {
	forgotten = s.sweep(sweepStep, now)
	s.records[r.permitID] = r
	s.order = append(s.order, r)
	return forgotten
}

func (s *holdShard) sweep(steps int, now limiter.Instant) (forgotten int64) {
	for range min(steps, len(s.order)) {
		if s.hand >= len(s.order) {
			s.hand = 0
		}
		r := s.order[s.hand]
		if !r.gone(now) {
			s.hand++
			continue
		}
		delete(s.records, r.permitID)
		last := len(s.order) - 1
		s.order[s.hand], s.order[last] = s.order[last], nil
		s.order = s.order[:last]
		forgotten++
	}
	return forgotten
}

// find is a record that is still kept, or nil.
func (s *holdShard) find(permitID string, now limiter.Instant) *record {
	if r := s.records[permitID]; r != nil && !r.gone(now) {
		return r
	}
	return nil
}

func (s *Store) holdShard(permitID string) *holdShard {
	return &s.holds.shards[maphash.String(s.seed, permitID)%shardCount]
}

// keep makes the record of a charge that was granted.
func (s *Store) keep(c *limiter.Charge, receipts []limiter.Receipt) {
	now := c.Outcome.Now
	h := limiter.Hold{
		Status: limiter.HoldOpen, Born: now, Expires: now + limiter.Instant(c.Hold.TTL/time.Microsecond),
		Keep: c.Hold.Keep, Body: c.Hold.Body, Receipts: receipts,
	}
	c.Outcome.Expires = h.Expires
	shard := s.holdShard(c.PermitID)
	shard.Lock()
	defer shard.Unlock()
	s.count.Add(1 - shard.add(&record{c.PermitID, h}, now))
}

// seen is a copy of a record as it stands.
func (r *record) seen(now limiter.Instant) limiter.Hold {
	if r == nil {
		return limiter.Hold{Seen: now}
	}
	h := r.hold
	h.Seen = now
	return h
}

// Hold implements [limiter.Store].
func (s *Store) Hold(ctx context.Context, provider, permitID string) (limiter.Hold, error) {
	shard := s.holdShard(permitID)
	shard.Lock()
	defer shard.Unlock()
	now := s.clock()
	return shard.find(permitID, now).seen(now), ctx.Err()
}

// CloseHold implements [limiter.Store].
func (s *Store) CloseHold(ctx context.Context, k *limiter.Closing) {
	if err := ctx.Err(); err != nil {
		k.Outcome = limiter.ClosingOutcome{Err: err}
		return
	}
	// The hold's lines as a charge: what finds and locks their counters is the same.
	c := &limiter.Charge{Provider: k.Provider, KeyID: k.KeyID, Pool: k.Pool, Stamps: k.Stamps, Lines: make([]limiter.Line, len(k.Lines))}
	for i := range k.Lines {
		c.Lines[i] = limiter.Line{Terms: k.Lines[i].Terms, Subject: k.Lines[i].Subject, Model: k.Lines[i].Model, Window: k.Lines[i].Window}
	}
	places := make([]place, len(c.Lines))
	held := s.shardsOf(c, places)
	s.lock(held)
	defer s.unlock(held)
	shard := s.holdShard(k.PermitID)
	shard.Lock()
	defer shard.Unlock()

	current := s.documents.provider(k.Provider).current(c)
	now := s.clock()
	r := shard.find(k.PermitID, now)
	k.Outcome = limiter.ClosingOutcome{Verdict: limiter.Granted, Now: now}
	switch {
	case r == nil || r.hold.Status != limiter.HoldOpen:
	case !current:
		k.Outcome.Verdict, k.Outcome.Current = limiter.Stale, c.Outcome.Current
		return
	case !s.windowsHold(c, now):
		k.Outcome.Verdict = limiter.Late
		return
	case k.Status == limiter.HoldOpen:
		s.extend(k, c, places, r, now)
	default:
		s.settle(k, c, places, r, now)
	}
	k.Outcome.Hold = r.seen(now)
}

// settle applies a closing to the counters, and notes it in the record.
func (s *Store) settle(k *limiter.Closing, c *limiter.Charge, places []place, r *record, now limiter.Instant) {
	changes := make([]limiter.LineChange, len(k.Lines))
	for i := range k.Lines {
		l, at := &k.Lines[i], &places[i]
		if l.Terms == nil {
			continue
		}
		var state limiter.State
		if l.Slots() {
			if at.counter, _ = s.shards[at.shard].find(keyOf(&c.Lines[i]), now); at.counter != nil {
				at.counter.free(k.PermitID)
			}
			continue
		}
		at.counter, state = s.shards[at.shard].find(keyOf(&c.Lines[i]), now)
		state, changes[i] = l.Change(l.Terms.Advance(state, now, l.Window), r.hold.Receipts[i], now)
		if changes[i].Adjusted == 0 {
			continue
		}
		if at.counter == nil {
			at.counter = s.shards[at.shard].add(keyOf(&c.Lines[i]))
			s.count.Add(1)
		}
		at.counter.state = state
	}
	r.hold.Status, r.hold.Changes, r.hold.Late = k.Status, changes, now >= r.hold.Expires
}

// extend has a hold and its slots expire later.
func (s *Store) extend(k *limiter.Closing, c *limiter.Charge, places []place, r *record, now limiter.Instant) {
	r.hold.Extend(now, k.TTL)
	for i := range k.Lines {
		if !k.Lines[i].Slots() || r.hold.Expires <= now {
			continue
		}
		if counter, _ := s.shards[places[i].shard].find(keyOf(&c.Lines[i]), now); counter != nil {
			counter.keep(k.PermitID, r.hold.Expires)
		}
	}
}
