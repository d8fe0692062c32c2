package memstore

import (
	"strings"
	"sync"
	"unsafe"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/internal/size"
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
	texts int32  // bytes of what of the key nothing else has
}

func (c *counter) name() counterKey { return c.key }

// shard holds the counters of some subjects.
type shard struct {
	sync.Mutex
	memory   *limiter.Memory
	counters table[counterKey, *counter]
	_        [64]byte // keeps neighbours off this cache line
}

// find is a counter and its state, without slots that have expired; nil, and the zero State, if there is none.
func (s *shard) find(key counterKey, now limiter.Instant) (*counter, limiter.State) {
	if c := s.counters.get(key); c != nil {
		s.expire(c, now)
		return c, c.state
	}
	return nil, limiter.State{}
}

// add makes a counter. beside is one that was made for the same ask, or nil: they share the subject.
func (s *shard) add(key counterKey, beside *counter) *counter {
	c := &counter{key: key}
	c.key.model = strings.Clone(key.model)
	c.texts = int32(size.Text(key.model))
	if beside != nil && beside.key.subject == key.subject {
		c.key.subject = beside.key.subject
	} else {
		c.key.subject = strings.Clone(key.subject)
		c.texts += int32(size.Text(key.subject))
	}
	s.counters.add(c)
	s.memory.Add(s.bytes(c))
	return c
}

// bytes is what a counter takes.
func (s *shard) bytes(c *counter) int64 {
	return s.newBytes() + int64(c.texts) + refundsBytes(c.state) + c.slots.bytes()
}

// newBytes is what a counter takes beside its texts, its slots and its refunds.
func (s *shard) newBytes() int64 {
	return size.Alloc(int(unsafe.Sizeof(counter{}))) + s.counters.entryBytes()
}

// most is what a counter takes at most when the cost of a line was charged to it, if it has to be made.
func (s *shard) most(l *limiter.Line) int64 {
	return s.newBytes() + size.Text(l.Subject) + size.Text(l.Model)
}

func refundsBytes(s limiter.State) int64 {
	if s.Refunds == nil {
		return 0
	}
	return size.Alloc(int(unsafe.Sizeof(*s.Refunds))) + size.Alloc(cap(*s.Refunds)*int(unsafe.Sizeof(limiter.Refund{})))
}

// set writes the state of a counter.
func (s *shard) set(c *counter, to limiter.State) {
	if c.state.Refunds != to.Refunds {
		s.memory.Add(refundsBytes(to) - refundsBytes(c.state))
	}
	c.state = to
}

// sweep looks at the next few counters and forgets those whose time is over.
func (s *shard) sweep(steps int, now limiter.Instant, over func(limiter.State, limiter.Instant) bool) {
	s.counters.sweep(steps, func(c *counter) bool {
		if !over(c.state, now) {
			return false
		}
		s.memory.Add(-s.bytes(c))
		return true
	})
}
