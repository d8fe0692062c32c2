package memstore

import (
	"container/heap"

	"github.com/permitd/permitd/limiter"
)

// slots are those of a concurrency limit that are held, by permit. Each leaves when its hold expires, without anybody
// having to look: whoever reads the counter takes away first what has expired.
type slots struct {
	held  map[string]slot
	queue expiries // a moment for each slot, and some for slots that were given back or kept for longer
}

type slot struct {
	n       int64
	expires limiter.Instant
}

type expiry struct {
	at       limiter.Instant
	permitID string
}

// take holds n slots until they expire. The counter is a concurrency limit's.
func (c *counter) take(permitID string, n int64, expires limiter.Instant) {
	if c.slots == nil {
		c.slots = &slots{held: map[string]slot{}}
	}
	c.slots.held[permitID] = slot{n, expires}
	heap.Push(&c.slots.queue, expiry{expires, permitID})
	c.slots.tidy()
	c.state.Used += n
	c.state.Mark = max(c.state.Mark, expires)
}

// tidy makes the queue anew when most of it is about slots that are no longer held, or for longer.
func (s *slots) tidy() {
	if len(s.queue) <= 2*len(s.held)+64 {
		return
	}
	s.queue = s.queue[:0]
	for permitID, slot := range s.held {
		s.queue = append(s.queue, expiry{slot.expires, permitID})
	}
	heap.Init(&s.queue)
}

// free gives the slots of a permit back.
func (c *counter) free(permitID string) {
	if c.slots == nil {
		return
	}
	c.state.Used -= c.slots.held[permitID].n
	delete(c.slots.held, permitID)
}

// keep has the slots of a permit expire later.
func (c *counter) keep(permitID string, expires limiter.Instant) {
	if c.slots == nil || c.slots.held[permitID].n == 0 || c.slots.held[permitID].expires == expires {
		return
	}
	n := c.slots.held[permitID].n
	c.free(permitID)
	c.take(permitID, n, expires)
}

// expire takes away the slots that have expired.
func (c *counter) expire(now limiter.Instant) {
	if c.slots == nil {
		return
	}
	for q := &c.slots.queue; q.Len() > 0 && (*q)[0].at <= now; {
		e := heap.Pop(q).(expiry)
		if c.slots.held[e.permitID].expires <= now {
			c.free(e.permitID)
		}
	}
}

// expiries are a heap, the earliest first.
type expiries []expiry

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].at < e[j].at }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)        { *e = append(*e, x.(expiry)) }
func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
