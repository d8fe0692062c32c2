package memstore

import (
	"hash/maphash"
	"sync"
	"unsafe"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/internal/size"
)

// records keep things by an id for a time, in shards. What is over goes when others come: each new one looks at a few of
// its shard. Locks of records are taken after those of counters.
type records struct{ shards [shardCount]recordShard }

type recordShard struct {
	sync.Mutex
	memory *limiter.Memory
	table  table[string, *record]
}

// record is a hold or a grant, packed.
type record struct {
	id     string
	until  limiter.Instant // it is no longer kept
	shared *limiter.Shared // the part of its body that many have in common
	own    string          // all else
}

func (r *record) name() string { return r.id }

func (r *records) init(m *limiter.Memory) {
	for i := range r.shards {
		r.shards[i].memory = m
	}
}

func (r *records) shard(seed maphash.Seed, id string) *recordShard {
	return &r.shards[maphash.String(seed, id)%shardCount]
}

// find is a record that is still kept, or nil.
func (s *recordShard) find(id string, now limiter.Instant) *record {
	if r := s.table.get(id); r != nil && now < r.until {
		return r
	}
	return nil
}

// add keeps a record with a body, in place of one that is over if there is one. head is what comes before the body.
func (s *recordShard) add(id string, until limiter.Instant, head, body []byte, shared int, now limiter.Instant) {
	s.sweep(sweepStep, now)
	r := s.table.get(id)
	if r == nil {
		r = &record{id: id}
		s.table.add(r)
		s.memory.Add(s.bytes(r))
	}
	r.until = until
	s.share(r, body[:shared])
	s.write(r, string(append(head, body[shared:]...)))
}

// share has a record share the beginning of a body.
func (s *recordShard) share(r *record, text []byte) {
	was := r.shared
	r.shared = s.memory.Share(text)
	s.memory.Release(was)
}

// write changes what a record holds.
func (s *recordShard) write(r *record, own string) {
	s.memory.Add(size.Text(own) - size.Text(r.own))
	r.own = own
}

// bytes is what a record takes beside what it shares.
func (s *recordShard) bytes(r *record) int64 {
	return size.Alloc(int(unsafe.Sizeof(*r))) + s.table.entryBytes() + size.Text(r.id) + size.Text(r.own)
}

// most is what a record takes at most with an id, so many bytes of head, and a body.
func (s *recordShard) most(id string, head int, body []byte) int64 {
	return s.bytes(&record{id: id}) + size.Alloc(head+len(body))
}

func (s *recordShard) sweep(steps int, now limiter.Instant) {
	s.table.sweep(steps, func(r *record) bool {
		if now < r.until {
			return false
		}
		s.memory.Release(r.shared)
		s.memory.Add(-s.bytes(r))
		return true
	})
}
