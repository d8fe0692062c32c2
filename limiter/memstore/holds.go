package memstore

import (
	"context"

	"github.com/permitd/permitd/limiter"
)

// keep makes the record of a charge that was granted.
func (s *Store) keep(c *limiter.Charge, receipts []limiter.Receipt) {
	now := c.Outcome.Now
	h := limiter.Hold{
		Status: limiter.HoldOpen, Born: now, Expires: now.Later(c.Hold.TTL),
		Keep: c.Hold.Keep, Body: c.Hold.Body, Receipts: receipts,
	}
	c.Outcome.Expires = h.Expires
	shard := s.holds.shard(s.seed, c.PermitID)
	shard.Lock()
	defer shard.Unlock()
	s.count.Add(1 - shard.add(&record[limiter.Hold]{id: c.PermitID, until: keptUntil(&h), value: h}, now))
}

// keptUntil is when the record of a hold goes.
func keptUntil(h *limiter.Hold) limiter.Instant {
	return h.Expires.Later(h.Keep)
}

// seen is a copy of a hold as it stands, if there is one.
func seen(r *record[limiter.Hold], now limiter.Instant) limiter.Hold {
	var h limiter.Hold
	if r != nil {
		h = r.value
	}
	h.Seen = now
	return h
}

// Hold implements [limiter.Store].
func (s *Store) Hold(ctx context.Context, provider, permitID string) (limiter.Hold, error) {
	shard := s.holds.shard(s.seed, permitID)
	shard.Lock()
	defer shard.Unlock()
	now := s.clock()
	return seen(shard.find(permitID, now), now), context.Cause(ctx)
}

// CloseHold implements [limiter.Store].
func (s *Store) CloseHold(ctx context.Context, k *limiter.Closing) {
	if err := context.Cause(ctx); err != nil {
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
	shard := s.holds.shard(s.seed, k.PermitID)
	shard.Lock()
	defer shard.Unlock()

	current := s.documents.provider(k.Provider).current(c)
	now := s.clock()
	r := shard.find(k.PermitID, now)
	k.Outcome = limiter.ClosingOutcome{Verdict: limiter.Granted, Now: now}
	switch {
	case r == nil || r.value.Status != limiter.HoldOpen:
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
	k.Outcome.Hold = seen(r, now)
}

// settle applies a closing to the counters, and notes it in the record.
func (s *Store) settle(k *limiter.Closing, c *limiter.Charge, places []place, r *record[limiter.Hold], now limiter.Instant) {
	changes := make([]limiter.LineChange, len(k.Lines))
	for i := range k.Lines {
		l, at := &k.Lines[i], &places[i]
		if l.Terms == nil {
			continue
		}
		if l.Slots() {
			if at.counter, _ = s.shards[at.shard].find(keyOf(c.Provider, &c.Lines[i]), now); at.counter != nil {
				at.counter.free(k.PermitID)
			}
			continue
		}
		var state limiter.State
		at.counter, state = s.shards[at.shard].find(keyOf(c.Provider, &c.Lines[i]), now)
		state, changes[i] = l.Change(l.Terms.Advance(state, now, l.Window), r.value.Receipts[i], now)
		if changes[i].Adjusted == 0 {
			continue
		}
		s.counter(c, &c.Lines[i], at).state = state
	}
	r.value.Status, r.value.Changes, r.value.Late = k.Status, changes, now >= r.value.Expires
}

// extend has a hold and its slots expire later.
func (s *Store) extend(k *limiter.Closing, c *limiter.Charge, places []place, r *record[limiter.Hold], now limiter.Instant) {
	r.value.Extend(now, k.TTL)
	r.until = keptUntil(&r.value)
	if k.Once != "" {
		s.remember(k.Provider, k.Once, r.value.Expires, now)
	}
	for i := range k.Lines {
		if !k.Lines[i].Slots() || r.value.Expires <= now {
			continue
		}
		if counter, _ := s.shards[places[i].shard].find(keyOf(c.Provider, &c.Lines[i]), now); counter != nil {
			counter.keep(k.PermitID, r.value.Expires)
		}
	}
}
