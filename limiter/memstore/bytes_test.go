package memstore_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// limitsOf is so many limits of one kind.
func limitsOf(n int, limit string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"requests-limit-%d":%s`, i, limit))
	}
	return strings.Join(all, ",")
}

const (
	wideRate   = `{"scope":"provider","kind":"rate","amount":1000000000,"per":"1h","burst":1000000000}`
	wideQuota  = `{"scope":"provider","kind":"quota","amount":1000000000,"per":"day"}`
	ofKey      = `{"scope":"key","kind":"rate","amount":1000,"per":"1h","burst":1000}`
	ofKeyModel = `{"scope":"key","kind":"rate","amount":1000,"per":"1h","burst":1000,"per_model":true}`
	slotsOfKey = `{"scope":"key","kind":"concurrency","amount":1000}`
	manySlots  = `{"scope":"provider","kind":"concurrency","amount":1000000000}`
)

// heap is how many bytes of the heap are in use.
func heap() int64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestBytesAreThoseOfTheHeap fills a store with records of each kind, and compares what is counted with what the heap grew by.
func TestBytesAreThoseOfTheHeap(t *testing.T) {
	ask := func(m *memory, a limiter.Ask) *limiter.Decision {
		a.Provider = "openai"
		d, err := m.coordinator.Acquire(context.Background(), a)
		if err != nil || !d.Allowed {
			m.Fatal(d, err)
		}
		return d
	}
	key := func(i int) string { return "sk-" + strconv.Itoa(i) }
	settle := func(m *memory, d *limiter.Decision, amount int64) {
		if _, err := m.coordinator.Settle(context.Background(), d.PermitID, limiter.Costs{{Unit: "requests", Amount: amount}}); err != nil {
			m.Fatal(err)
		}
	}
	for name, kind := range map[string]struct {
		limits string
		n      int
		fill   func(m *memory, i int)
	}{
		"counters": {limitsOf(1, ofKey), 20000, func(m *memory, i int) { ask(m, limiter.Ask{Key: key(i)}) }},
		"counters of 16 limits": {limitsOf(16, ofKey), 3000, func(m *memory, i int) {
			ask(m, limiter.Ask{Key: key(i)})
		}},
		"counters of models": {limitsOf(4, ofKeyModel), 10000, func(m *memory, i int) {
			ask(m, limiter.Ask{Key: key(i / 10), Model: "provider/model-" + strconv.Itoa(i)})
		}},
		"holds of 1 limit":           {limitsOf(1, wideRate), 10000, func(m *memory, i int) { ask(m, limiter.Ask{Key: key(i), Hold: true}) }},
		"holds of 16 limits":         {limitsOf(16, wideRate), 5000, func(m *memory, i int) { ask(m, limiter.Ask{Key: key(i), Hold: true}) }},
		"holds of 16 quotas":         {limitsOf(16, wideQuota), 5000, func(m *memory, i int) { ask(m, limiter.Ask{Key: key(i), Hold: true}) }},
		"settled holds of 16 limits": {limitsOf(16, wideRate), 5000, func(m *memory, i int) { settle(m, ask(m, limiter.Ask{Key: key(i), Hold: true}), 700) }},
		"grants of 1 limit": {limitsOf(1, wideRate), 10000, func(m *memory, i int) {
			ask(m, limiter.Ask{Key: key(i), IdempotencyKey: key(i)})
		}},
		"grants of 16 limits": {limitsOf(16, wideQuota), 5000, func(m *memory, i int) {
			ask(m, limiter.Ask{Key: key(i), IdempotencyKey: key(i)})
		}},
		"slots of one counter": {limitsOf(1, manySlots), 10000, func(m *memory, i int) { ask(m, limiter.Ask{Key: key(i)}) }},
		"slots of many": {limitsOf(4, slotsOfKey), 2500, func(m *memory, i int) {
			ask(m, limiter.Ask{Key: key(i)})
		}},
		"slots that were given back": {limitsOf(1, slotsOfKey), 2000, func(m *memory, i int) {
			var all []*limiter.Decision
			for range 12 {
				all = append(all, ask(m, limiter.Ask{Key: key(i)}))
			}
			for _, d := range all[1:] {
				settle(m, d, 1)
			}
		}},
		"refunds": {limitsOf(1, ofKey), 2000, func(m *memory, i int) {
			var all []*limiter.Decision
			for range 8 {
				all = append(all, ask(m, limiter.Ask{Key: key(i), Hold: true, Cost: limiter.Costs{{Unit: "requests", Amount: 2}}}))
			}
			for _, d := range all {
				settle(m, d, 1)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t, limiter.DefaultMemory, kind.limits)
			before := heap()
			for i := range kind.n {
				kind.fill(m, i)
			}
			m.coordinator = nil // it remembers some, too, and no more for more records
			real, counted := heap()-before, m.bound.Used()
			t.Logf("%d of the heap for each, %d counted", real/int64(kind.n), counted/int64(kind.n))
			if ratio := float64(counted) / float64(real); ratio < 0.8 || ratio > 1.25 {
				t.Errorf("%d bytes are counted, %d are in use: %.2f", counted, real, ratio)
			}
			m.pass(100 * time.Hour)
			m.Discard()
			if m.bound.Used() != 0 {
				t.Errorf("%d bytes are counted when all was dropped", m.bound.Used())
			}
		})
	}
}
