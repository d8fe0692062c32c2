package main

import (
	"context"
	"sync"
	"time"
)

// stalls is when this machine let a goroutine that wants nothing but to sleep for a millisecond sleep for longer: an answer
// that was late by no more than that is nobody's fault.
type stalls struct {
	mu  sync.Mutex
	all []span
}

// watch looks until the context ends.
func (s *stalls) watch(ctx context.Context) {
	const tick, least = time.Millisecond, 3 * time.Millisecond
	for ctx.Err() == nil {
		before := time.Now()
		time.Sleep(tick)
		if over := time.Since(before) - tick; over > least {
			s.mu.Lock()
			s.all = append(s.all, span{micros(before.Add(tick)), micros(before.Add(tick + over))})
			s.mu.Unlock()
		}
	}
}

// within is how much of a time the machine was stalled, in µs.
func (s *stalls) within(t span) (total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.all {
		total += max(0, min(o.to, t.to)-max(o.from, t.from))
	}
	return total
}

// micros is a moment on the clock of the machine, which is that of Redis too.
func micros(t time.Time) int64 { return t.UnixMicro() }
