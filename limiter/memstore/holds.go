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
		Keep: c.Hold.Keep, Receipts: receipts,
	}
	c.Outcome.Expires = h.Expires
	shard := s.holds.shard(s.seed, c.PermitID)
	shard.Lock()
	defer shard.Unlock()
	shard.add(c.PermitID, keptUntil(&h), holdHead(&h), c.Hold.Body, c.Hold.Shared, now)
}

// keptUntil is when the record of a hold goes.
func keptUntil(h *limiter.Hold) limiter.Instant {
	return h.Expires.Later(h.Keep)
}

// seen is a hold as it stands, if there is one.
func seen(r *record, now limiter.Instant) limiter.Hold {
	var h limiter.Hold
	if r != nil {
		var own string
		h, own = unpackHold(r)
		h.Body = []byte(r.shared.String() + own)
	}
	h.Seen = now
	return h
}

// rewrite writes a hold that has changed, with the body that it had.
func (s *recordShard) rewrite(r *record, h *limiter.Hold, ownBody string) {
	r.until = keptUntil(h)
	s.write(r, string(holdHead(h))+ownBody)
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
	if r == nil {
		k.Outcome.Hold.Seen = now
		return
	}
	switch h, own := unpackHold(r); {
	case h.Status != limiter.HoldOpen:
	case !current:
		k.Outcome.Verdict, k.Outcome.Current = limiter.Stale, c.Outcome.Current
		return
	case !s.windowsHold(c, now):
		k.Outcome.Verdict = limiter.Late
		return
	case k.Status == limiter.HoldOpen:
		s.extend(k, c, places, &h, now)
		shard.rewrite(r, &h, own)
	default:
		s.settle(k, c, places, held, &h, now)
		if k.Body != nil {
			shard.share(r, k.Body[:k.Shared])
			own = string(k.Body[k.Shared:])
		}
		shard.rewrite(r, &h, own)
	}
	k.Outcome.Hold = seen(r, now)
}

// settle applies a closing to the counters, and notes it in the hold.
func (s *Store) settle(
	k *limiter.Closing, c *limiter.Charge, places []place, held shardSet, h *limiter.Hold, now limiter.Instant,
) {
	changes := make([]limiter.LineChange, len(k.Lines))
	for i := range k.Lines {
		l, at := &k.Lines[i], &places[i]
		if l.Terms == nil {
			continue
		}
		shard := &s.shards[at.shard]
		var state limiter.State
		at.counter, state = shard.find(keyOf(c.Provider, &c.Lines[i]), now)
		if l.Slots() {
			if at.counter != nil {
				shard.free(at.counter, k.PermitID)
			}
			continue
		}
		state, changes[i] = l.Change(l.Terms.Advance(state, now, l.Window), h.Receipts[i], now)
		if most := shard.most(&c.Lines[i]); at.counter == nil && changes[i].Adjusted > 0 {
			if !s.room(most, now, held) { // nothing was reserved here, and there is no memory to note what it took
				changes[i] = limiter.LineChange{Uncharged: changes[i].Adjusted + changes[i].Uncharged}
			} else {
				defer s.memory.Add(-most) // the counter takes its own
			}
		}
		if changes[i].Adjusted != 0 {
			shard.set(s.counter(c, places, i), state)
		}
	}
	h.Status, h.Changes, h.Receipts, h.Late = k.Status, changes, nil, now >= h.Expires
}

// extend has a hold and its slots expire later.
func (s *Store) extend(k *limiter.Closing, c *limiter.Charge, places []place, h *limiter.Hold, now limiter.Instant) {
	h.Extend(now, k.TTL)
	if k.Once != "" {
		s.remember(k.Provider, k.Once, h.Expires, now)
	}
	for i := range k.Lines {
		if !k.Lines[i].Slots() || h.Expires <= now {
			continue
		}
		if counter, _ := s.shards[places[i].shard].find(keyOf(c.Provider, &c.Lines[i]), now); counter != nil {
			counter.keep(k.PermitID, h.Expires)
		}
	}
}
