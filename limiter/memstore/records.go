package memstore

import (
	"hash/maphash"
	"sync"

	"github.com/permitd/permitd/limiter"
)

// records keep things by an id for a time, in shards. What is over goes when others come: each new one looks at a few of
// its shard. Locks of records are taken after those of counters.
type records[T any] struct{ shards [shardCount]recordShard[T] }

type recordShard[T any] struct {
	sync.Mutex
	byID map[string]*record[T]
	ring ring[*record[T]]
}

type record[T any] struct {
	id    string
	until limiter.Instant // it is no longer kept
	value T
}

func (r *records[T]) init() {
	for i := range r.shards {
		r.shards[i].byID = map[string]*record[T]{}
	}
}

func (r *records[T]) shard(seed maphash.Seed, id string) *recordShard[T] {
	return &r.shards[maphash.String(seed, id)%shardCount]
}

// find is a record that is still kept, or nil.
func (s *recordShard[T]) find(id string, now limiter.Instant) *record[T] {
	if r := s.byID[id]; r != nil && now < r.until {
		return r
	}
	return nil
}

// add keeps a record, in place of one that is over if there is one, and returns how many have gone.
func (s *recordShard[T]) add(r *record[T], now limiter.Instant) (forgotten int64) {
	forgotten = s.sweep(sweepStep, now)
	if old := s.byID[r.id]; old != nil {
		*old = *r
		return forgotten + 1
	}
	s.byID[r.id] = r
	s.ring.add(r)
	return forgotten
}

func (s *recordShard[T]) sweep(steps int, now limiter.Instant) (forgotten int64) {
	return s.ring.sweep(steps, func(r *record[T]) bool {
		if now < r.until {
			return false
		}
		delete(s.byID, r.id)
		return true
	})
}
