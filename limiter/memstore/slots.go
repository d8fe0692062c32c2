package memstore

import (
	"container/heap"
	"unsafe"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/internal/size"
)

// slots are those of a concurrency limit that are held, by permit. Each leaves when its hold expires, without anybody
// having to look: whoever reads the counter takes away first what has expired. A counter of which none are held has none.
type slots struct {
	held  dict[string, *slot]
	queue expiries
}

type slot struct {
	permitID string // the hold's own
	n        int64
	expires  limiter.Instant
	at       int // in the queue
}

const (
	slotsBytes = int64(8*(16+8)+8) + 48 + 8 + int64(unsafe.Sizeof(slots{})) // with a map of the smallest size
)

var slotBytes = size.Alloc(int(unsafe.Sizeof(slot{}))) + (&dict[string, *slot]{}).entryBytes() + size.SliceEntry(8)

// bytes is what slots take.
func (s *slots) bytes() int64 {
	if s == nil {
		return 0
	}
	return slotsBytes + int64(len(s.queue))*slotBytes
}

// take holds n slots until they expire. The counter is a concurrency limit's.
func (s *shard) take(c *counter, permitID string, n int64, expires limiter.Instant) {
	was := c.slots.bytes()
	if c.slots == nil {
		c.slots = &slots{}
	}
	held := &slot{permitID: permitID, n: n, expires: expires}
	c.slots.held.set(permitID, held)
	heap.Push(&c.slots.queue, held)
	c.state.Used += n
	c.state.Mark = max(c.state.Mark, expires)
	s.memory.Add(c.slots.bytes() - was)
}

// free gives the slots of a permit back.
func (s *shard) free(c *counter, permitID string) {
	if held := c.slots.of(permitID); held != nil {
		s.release(c, held)
	}
}

func (s *shard) release(c *counter, held *slot) {
	was := c.slots.bytes()
	c.state.Used -= held.n
	heap.Remove(&c.slots.queue, held.at)
	if c.slots.held.delete(held.permitID) {
		c.slots.queue = append(expiries(nil), c.slots.queue...)
	}
	if len(c.slots.queue) == 0 {
		c.slots = nil
	}
	s.memory.Add(c.slots.bytes() - was)
}

// keep has the slots of a permit expire later.
func (c *counter) keep(permitID string, expires limiter.Instant) {
	held := c.slots.of(permitID)
	if held == nil {
		return
	}
	held.expires = expires
	heap.Fix(&c.slots.queue, held.at)
	c.state.Mark = max(c.state.Mark, expires)
}

// expire takes away the slots that have expired.
func (s *shard) expire(c *counter, now limiter.Instant) {
	for c.slots != nil && c.slots.queue[0].expires <= now {
		s.release(c, c.slots.queue[0])
	}
}

// of is what a permit holds, or nil.
func (s *slots) of(permitID string) *slot {
	if s == nil {
		return nil
	}
	return s.held.entries[permitID]
}

// expiries are a heap, the earliest first.
type expiries []*slot

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expires < e[j].expires }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].at, e[j].at = i, j
}

func (e *expiries) Push(x any) {
	s := x.(*slot)
	s.at = len(*e)
	*e = append(*e, s)
}

func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return x
}
