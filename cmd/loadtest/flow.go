package main

import (
	"math"
	"sync"
	"time"
)

// flow is what reached the provider over time, and what it did with it. It is kept in fine slots, so that it can be drawn
// at any width when the run is over.
type flow struct {
	slot   time.Duration
	amount int64 // the provider's rate: amount per per
	per    time.Duration

	mu    sync.Mutex
	slots []flowSlot
	// Levels are those of buckets that drain at the provider's rate: level of one that every call fills, admittedLevel of
	// one that only the admitted do. peak is the highest that level was: so much came at once, beyond the rate.
	level, admittedLevel, peak float64
	last                       time.Duration
}

// flowSlot is what arrived within one slot of time.
type flowSlot struct {
	admitted, refused int64 // tokens
	turnedAway        int64 // calls that were refused
	ahead             int64 // the highest that admittedLevel was
}

// mostSlots bounds the memory of a flow; what comes later counts into the last.
const mostSlots = 1 << 20

func newFlow(slot time.Duration, amount int64, per time.Duration) *flow {
	return &flow{slot: slot, amount: amount, per: per}
}

func (f *flow) arrive(now time.Duration, tokens int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := int(min(now/f.slot, mostSlots-1))
	for len(f.slots) <= i {
		f.slots = append(f.slots, flowSlot{})
	}
	drained := float64(f.amount) * float64(now-f.last) / float64(f.per)
	f.level, f.admittedLevel, f.last = max(0, f.level-drained)+float64(tokens), max(0, f.admittedLevel-drained), now
	f.peak = max(f.peak, f.level)
	if s := &f.slots[i]; ok {
		f.admittedLevel += float64(tokens)
		s.admitted += tokens
		s.ahead = max(s.ahead, int64(math.Ceil(f.admittedLevel)))
	} else {
		s.refused += tokens
		s.turnedAway++
	}
}

// read returns what was kept. Nothing arrives any more.
func (f *flow) read() (slots []flowSlot, peak int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slots, int64(math.Ceil(f.peak))
}

// gather sums slots into pieces of n, so many as are asked for; those beyond the end are empty.
func gather(slots []flowSlot, n, pieces int) []flowSlot {
	sums := make([]flowSlot, pieces)
	for i, s := range slots {
		if at := i / n; at < pieces {
			sums[at].admitted += s.admitted
			sums[at].refused += s.refused
			sums[at].turnedAway += s.turnedAway
			sums[at].ahead = max(sums[at].ahead, s.ahead)
		}
	}
	return sums
}
