package memstore

import "github.com/permitd/permitd/limiter"

const (
	sweepStep = 2  // counters looked at after each charge, and for each counter that it made
	sweepHard = 64 // looked at in a shard when memory is short
)

// need is how many bytes a charge takes at most if it is granted, beside what refunds will take.
func (s *Store) need(c *limiter.Charge, places []place) (bytes int64) {
	for i := range c.Lines {
		l, at := &c.Lines[i], &places[i]
		if l.Cost == 0 {
			continue
		}
		if at.counter == nil {
			bytes += s.shards[at.shard].most(l)
		}
		if l.Terms.Limit.Kind == limiter.KindConcurrency {
			bytes += slotsBytes + slotBytes
		}
	}
	if bytes > 0 || c.Hold != nil { // who is granted nothing that may make a counter has no name noted
		bytes += 2 * nameBytes * int64(len(c.Names))
	}
	if c.Hold != nil {
		bytes += s.holds.shards[0].most(c.PermitID, holdHeadMost(len(c.Lines)), c.Hold.Body)
	}
	if remembered(c) {
		bytes += s.grants.shards[0].most(grantID(c.Provider, c.Once.ID), grantHeadMost(c.PermitID, c.Once.Ask, len(c.Lines)), c.Once.Body)
	}
	return bytes
}

// room takes bytes for a charge and reports whether they were free. When memory is short, counters that are spent go at once
// rather than after their time of grace: those of the ask's own shards first, which are locked.
func (s *Store) room(bytes int64, now limiter.Instant, held shardSet) bool {
	if bytes == 0 {
		return true
	}
	if s.memory.Used()+bytes > s.memory.Most() {
		for i := range held.all() {
			s.shards[i].sweep(sweepHard, now, limiter.State.Drained)
		}
	}
	return s.memory.Take(bytes)
}

// sweep drops what is spent of the next shard. Locks are held by those who ask for it, so waiting for another out of order could
// deadlock: a shard that is busy is passed over.
func (s *Store) sweep() {
	now, at := s.clock(), s.hand.Add(1)%shardCount
	if shard := &s.shards[at]; shard.TryLock() {
		shard.sweep(sweepHard, now, limiter.State.Drained)
		shard.Unlock()
	}
	if at == 0 && s.names.TryLock() {
		s.names.sweep(now)
		s.names.Unlock()
	}
	for _, of := range []*records{&s.holds, &s.grants} {
		if shard := &of.shards[at]; shard.TryLock() {
			shard.sweep(sweepHard, now)
			shard.Unlock()
		}
	}
}
