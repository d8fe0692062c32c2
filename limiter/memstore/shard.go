package memstore

import (
	"sync"

	"github.com/permitd/permitd/limiter"
)

// counterKey is the identity of a counter: its dimensions.
type counterKey struct{ provider, counter, subject, model string }

func keyOf(provider string, l *limiter.Line) counterKey {
	return counterKey{provider, l.Terms.Counter, l.Subject, l.Model}
}

type counter struct {
	key   counterKey
	state limiter.State
	slots *slots // of a concurrency limit
}

// shard holds the counters of some subjects.
type shard struct {
	sync.Mutex
	counters map[counterKey]*counter
	ring     ring[*counter]
	_        [64]byte // keeps neighbours off this cache line
}

// find is a counter and its state, without slots that have expired; nil, and the zero State, if there is none.
func (s *shard) find(key counterKey, now limiter.Instant) (*counter, limiter.State) {
	if c := s.counters[key]; c != nil {
		c.expire(now)
		return c, c.state
	}
	return nil, limiter.State{}
}

// add makes a counter.
func (s *shard) add(key counterKey) *counter {
	c := &counter{key: key}
	s.counters[key] = c
	s.ring.add(c)
	return c
}

// sweep looks at the next few counters, forgets those whose time is over, and returns how many that were.
func (s *shard) sweep(steps int, now limiter.Instant, over func(limiter.State, limiter.Instant) bool) (forgotten int64) {
	return s.ring.sweep(steps, func(c *counter) bool {
		if !over(c.state, now) {
			return false
		}
		delete(s.counters, c.key)
		return true
	})
}
