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
	bound       *limiter.Memory
	now         limiter.Instant
}

func newMemory(t *testing.T, most int64, limits string) *memory {
	m := &memory{T: t, now: limiter.InstantOf(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)), bound: limiter.NewMemory(most)}
	m.Store = memstore.New(memstore.Options{Memory: m.bound, Clock: func() limiter.Instant { return m.now }})
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

// counterBytes is what the counter of a key takes.
func counterBytes(t *testing.T) int64 {
	m := newMemory(t, 1<<20, tenAMinute)
	if _, err := m.ask(0); err != nil {
		t.Fatal(err)
	}
	return m.bound.Used()
}

func (m *memory) ask(key int) (*limiter.Decision, error) {
	return m.coordinator.Acquire(context.Background(), limiter.Ask{Provider: "openai", Key: "sk-" + strconv.Itoa(key)})
}

func (m *memory) pass(d time.Duration) { m.now += limiter.Instant(d / time.Microsecond) }

const tenAMinute = `"rpm": {"scope":"key","kind":"rate","amount":10,"per":"1m"}`

func TestFullStoreRefusesRatherThanForget(t *testing.T) {
	m := newMemory(t, 100*counterBytes(t), tenAMinute)
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
// the shards of the ask, so it may take a few asks to find the spent ones. The names of their keys stay for a while.
func TestSpentCountersMakeRoom(t *testing.T) {
	m := newMemory(t, 2000*counterBytes(t), tenAMinute)
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
	if granted < 1800 || m.Len() > 2000 {
		t.Fatalf("%d of 2000 new keys found room, %d counters held", granted, m.Len())
	}
}

func TestCountersAreForgottenInTime(t *testing.T) {
	m := newMemory(t, limiter.DefaultMemory, tenAMinute+`, "rpd": {"scope":"key","kind":"quota","amount":10,"per":"day"}`)
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
	m := newMemory(t, limiter.DefaultMemory, tenAMinute+`, "all": {"scope":"provider","kind":"quota","amount":1,"per":"day"}`)
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

func (m *memory) hold(key int, once string) (*limiter.Decision, error) {
	return m.coordinator.Acquire(context.Background(), limiter.Ask{Provider: "openai", Key: "sk-" + strconv.Itoa(key), Hold: true,
		TTL: time.Minute, IdempotencyKey: once})
}

// Records whose time is over make room, though nothing is added that would drop them by the way.
func TestRecordsThatAreOverMakeRoom(t *testing.T) {
	m := newMemory(t, 200<<10, wideLimit)
	fill := func() (granted int) {
		for i := range 1000 {
			if _, err := m.hold(i, strconv.Itoa(i)); err == nil {
				granted++
			} else if !errors.Is(err, limiter.ErrOverloaded) {
				t.Fatal(err)
			}
		}
		return granted
	}
	first := fill()
	if first < 100 || first == 1000 || m.bound.Used() > m.bound.Most() {
		t.Fatalf("%d of 1000 granted, %d bytes of %d used", first, m.bound.Used(), m.bound.Most())
	}
	m.pass(2 * time.Hour)
	if again := fill(); again < first*9/10 {
		t.Errorf("%d granted when all before was over, %d before", again, first)
	}
}

const wideLimit = `"all": {"scope":"provider","kind":"quota","amount":1000000,"per":"month"}`

// TestStoresShareABound: what one has taken the other can't have, until it is spent or discarded.
func TestStoresShareABound(t *testing.T) {
	full := newMemory(t, 100*counterBytes(t), tenAMinute)
	for key := range 100 {
		if _, err := full.ask(key); err != nil {
			t.Fatal(err)
		}
	}
	other := &memory{T: t, now: full.now, bound: full.bound}
	other.Store = memstore.New(memstore.Options{Memory: full.bound, Clock: func() limiter.Instant { return other.now }})
	other.coordinator = limiter.New(other.Store)
	p, err := limiter.ParsePolicy([]byte(`{"limits":{` + tenAMinute + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.coordinator.PutPolicy(context.Background(), "openai", p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.ask(1); !errors.Is(err, limiter.ErrOverloaded) {
		t.Fatalf("%v, want it refused as overloaded", err)
	}
	full.pass(time.Minute) // its counters are spent, and nobody asks there
	asked := 0
	for key := range 200 {
		if _, err := other.ask(key); err == nil {
			asked++
		}
	}
	if asked < 90 || full.bound.Used() > full.bound.Most() {
		t.Errorf("%d granted where the other's counters are spent", asked)
	}
	full.Discard()
	other.Discard()
	if full.bound.Used() != 0 {
		t.Errorf("%d bytes are used when both were discarded", full.bound.Used())
	}
}
