package memstore_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// memory is a store on a virtual clock, with a coordinator and one limit of ten a minute per key.
type memory struct {
	*testing.T
	*memstore.Store
	coordinator *limiter.Coordinator
	now         limiter.Instant
}

func newMemory(t *testing.T, most int, limits string) *memory {
	m := &memory{T: t, now: limiter.InstantOf(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))}
	m.Store = memstore.New(memstore.Options{MaxCounters: most, Clock: func() limiter.Instant { return m.now }})
	m.coordinator = limiter.New(m.Store)
	p, err := limiter.ParsePolicy([]byte(`{"limits":{` + limits + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.coordinator.PutPolicy(context.Background(), "openai", p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *memory) ask(key int) (*limiter.Decision, error) {
	return m.coordinator.Acquire(context.Background(), limiter.Ask{Provider: "openai", Key: "sk-" + strconv.Itoa(key)})
}

func (m *memory) pass(d time.Duration) { m.now += limiter.Instant(d / time.Microsecond) }

const tenAMinute = `"rpm": {"scope":"key","kind":"rate","amount":10,"per":"1m"}`

func TestFullStoreRefusesRatherThanForget(t *testing.T) {
	m := newMemory(t, 100, tenAMinute)
	for key := range 100 {
		if d, err := m.ask(key); err != nil || !d.Allowed {
			t.Fatalf("key %d: %+v, %v", key, d, err)
		}
	}
	if _, err := m.ask(100); !errors.Is(err, limiter.ErrOverloaded) {
		t.Fatalf("a counter beyond the bound: %v, want it refused as overloaded", err)
	}
	if d, err := m.ask(5); err != nil || !d.Allowed || d.Limits[0].Remaining != 8 {
		t.Fatalf("a key that has a counter: %+v, %v; want it to go on", d, err)
	}
	if m.Len() != 100 {
		t.Fatalf("%d counters, want 100", m.Len())
	}
}

// Spent counters make room at once when there is none, though they are kept for a while otherwise. The sweep looks into
// the shards of the ask, so it may take a few asks to find the spent ones.
func TestSpentCountersMakeRoom(t *testing.T) {
	m := newMemory(t, 2000, tenAMinute)
	for key := range 2000 {
		if _, err := m.ask(key); err != nil {
			t.Fatal(err)
		}
	}
	m.pass(7 * time.Second) // one of ten a minute drains in six
	granted := 0
	for key := 2000; key < 4000; key++ {
		if _, err := m.ask(key); err == nil {
			granted++
		}
	}
	if granted < 1900 || m.Len() > 2000 {
		t.Fatalf("%d of 2000 new keys found room, %d counters held", granted, m.Len())
	}
}

func TestCountersAreForgottenInTime(t *testing.T) {
	m := newMemory(t, 0, tenAMinute+`, "rpd": {"scope":"key","kind":"quota","amount":10,"per":"day"}`)
	for key := range 5000 {
		if _, err := m.ask(key); err != nil {
			t.Fatal(err)
		}
	}
	if m.Len() != 10000 {
		t.Fatalf("%d counters, want 10000", m.Len())
	}
	m.pass(25 * time.Hour)
	for key := 5000; key < 15000; key++ {
		if _, err := m.ask(key); err != nil {
			t.Fatal(err)
		}
	}
	if m.Len() != 20000 {
		t.Fatalf("%d counters, want only the 20000 of the last 10000 keys", m.Len())
	}
}

func TestRefusalsLeaveNoCounters(t *testing.T) {
	m := newMemory(t, 0, tenAMinute+`, "all": {"scope":"provider","kind":"quota","amount":1,"per":"day"}`)
	if d, err := m.ask(1); err != nil || !d.Allowed {
		t.Fatal(d, err)
	}
	for key := range 1000 {
		if d, err := m.ask(key); err != nil || d.Allowed {
			t.Fatal(d, err)
		}
		if _, err := m.coordinator.Acquire(context.Background(), limiter.Ask{Provider: "nobody", Key: strconv.Itoa(key)}); !errors.Is(err, limiter.ErrUnknownProvider) {
			t.Fatal(err)
		}
	}
	if m.Len() != 2 {
		t.Fatalf("%d counters, want the two that were charged", m.Len())
	}
}
