package limiter

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Memory is a bound on the bytes that counters, holds and grants take in the memory of a process, and what is to be charged to
// a store when it answers again. Stores and coordinators that are given the same Memory share it. Documents don't count.
//
// Whoever keeps a record takes its bytes before, and gives them back when it is dropped. What holds usage is never dropped to
// make room: what does not fit is refused as [ErrOverloaded].
type Memory struct {
	most int64
	used atomic.Int64

	seed   maphash.Seed
	shared [sharedShards]sharedShard

	mu       sync.Mutex // of what follows
	sweepers []*func()
	hand     int
}

// DefaultMemory is the bound where none is given: 1 GiB.
const DefaultMemory = 1 << 30

// NewMemory returns a bound of so many bytes, of which none are used.
func NewMemory(most int64) *Memory {
	m := &Memory{most: most, seed: maphash.MakeSeed()}
	for i := range m.shared {
		m.shared[i].byText = map[string]*Shared{}
	}
	return m
}

// Most returns the bound in bytes.
func (m *Memory) Most() int64 { return m.most }

// Used returns how many bytes are taken. It may be a little more than Most: see Add.
func (m *Memory) Used() int64 { return m.used.Load() }

// sweepsForRoom bounds how long Take looks for room.
const sweepsForRoom = 16

// Take takes n bytes and reports whether they were free. If they are not, it has spent records dropped first, a bounded number
// of them. Taking 0 bytes always succeeds.
func (m *Memory) Take(n int64) bool {
	if n <= 0 {
		return true
	}
	for range sweepsForRoom {
		if m.used.Add(n) <= m.most {
			return true
		}
		m.used.Add(-n)
		if !m.sweep() {
			return false
		}
	}
	return false
}

// Add takes n bytes even beyond the bound, or gives -n back. It is for what grows while it is kept, such as the record of a
// hold that is closed.
func (m *Memory) Add(n int64) {
	if n != 0 {
		m.used.Add(n)
	}
}

// Sweeps has sweep called when memory is short, until stop is called. Sweep drops some of what is spent and gives its bytes
// back. It must not wait for a lock that is held while bytes are taken.
func (m *Memory) Sweeps(sweep func()) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweepers = append(m.sweepers, &sweep)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sweepers = slices.DeleteFunc(m.sweepers, func(s *func()) bool { return s == &sweep })
	}
}

// sweep has the next of those drop something who keep records. It returns false if there are none.
func (m *Memory) sweep() bool {
	m.mu.Lock()
	if len(m.sweepers) == 0 {
		m.mu.Unlock()
		return false
	}
	m.hand = (m.hand + 1) % len(m.sweepers)
	next := *m.sweepers[m.hand]
	m.mu.Unlock()
	next()
	return true
}
