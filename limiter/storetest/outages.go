package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const month = `{"limits":{"all":{"scope":"provider","kind":"quota","unit":"tokens","amount":1000000,"per":"month"}}}`

func tokens(n int64) limiter.Costs { return limiter.Costs{{Unit: "tokens", Amount: n}} }

// testFlapping has short outages follow one another: together they cost no more than one.
func testFlapping(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, `{"limits":{"all":{"scope":"provider","kind":"quota","amount":10,"per":"month"}}}`)
	granted := 0
	for range 10 {
		m.cut(true)
		for range 20 {
			if m.ask(0, limiter.Ask{Key: "sk-1"}).Allowed {
				granted++
			}
		}
		m.cut(false)
		for deadline := time.Now().Add(time.Second); m.instances[0].Degraded() && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			_, _ = m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1", Cost: requests(0)})
		}
	}
	if granted > 20 {
		t.Errorf("%d granted of a quota of 10 in 10 short outages", granted)
	}
}

// testDrainedHolds hands open holds over whose charge has drained: it is not charged again.
func testDrainedHolds(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, `{"limits":{"tpm":{"scope":"provider","kind":"rate","unit":"tokens","amount":100,"per":"1s","burst":100}}}`)
	m.cut(true)
	for range 4 {
		for !m.ask(0, limiter.Ask{Key: "sk-1", Cost: tokens(100), Hold: true}).Allowed {
			time.Sleep(5 * time.Millisecond)
		}
	}
	time.Sleep(1100 * time.Millisecond) // all of it has drained
	m.cut(false)
	var d *limiter.Decision
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if d = m.ask(0, limiter.Ask{Key: "sk-1", Cost: tokens(1)}); !d.Degraded {
			break
		}
	}
	if !d.Allowed {
		t.Errorf("all had drained, and is charged again: %d used of a burst of 100, next in %v", d.Limits[0].Used, d.RetryAfter)
	}
}

// testClosedElsewhere: whoever did not grant a hold closes it once, too.
func testClosedElsewhere(t *testing.T, b Backend) {
	m, id := outageHold(t, b, month, time.Minute)
	s, err := m.instances[1].Settle(t.Context(), id, tokens(25))
	if err != nil || s.Adjusted["all"] != 15 {
		t.Fatal(s, err)
	}
	if s, err := m.instances[1].Settle(t.Context(), id, tokens(4)); err != nil || s.Adjusted["all"] != 15 {
		t.Errorf("settled again: %+v, %v; want the first answer", s, err)
	}
	if s, err := m.instances[1].Cancel(t.Context(), id); !errors.Is(err, limiter.ErrPermitClosed) {
		t.Errorf("cancelled after it was settled: %+v, %v", s, err)
	}
	m.cut(false)
	m.caughtUp("all", limiter.UsageQuery{}, 25)
}

// testExtendedElsewhere: a hold expires no earlier for being extended, whoever is asked.
func testExtendedElsewhere(t *testing.T, b Backend) {
	m, id := outageHold(t, b, month, time.Minute)
	first, err := m.instances[1].ExtendHold(t.Context(), id, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.instances[1].ExtendHold(t.Context(), id, 2*time.Minute)
	if err != nil || second.Before(first) {
		t.Errorf("extended until %v, and then until %v, %v", first, second, err)
	}
}

// testAssumedThenEmpty starts without a store, which then appears empty: an ask comes before the policies are stored.
func testAssumedThenEmpty(t *testing.T, b Backend) {
	link := &cut{Store: b.Open(t)}
	link.off.Store(true)
	c := limiter.New(link, limiter.StandIn(standIn))
	docs := limiter.ProviderDocs{Provider: provider, Policy: policy(t, `"all":{"scope":"provider","kind":"quota","amount":10,"per":"month"}`)}
	if err := c.Assume(docs); err != nil {
		t.Fatal(err)
	}
	m := &team{TB: t, links: []*cut{link}, instances: []*limiter.Coordinator{c}}
	for range 4 {
		m.ask(0, limiter.Ask{Key: "sk-2"})
	}
	m.cut(false)
	time.Sleep(150 * time.Millisecond)
	if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-2", Cost: requests(0)}); err != nil {
		t.Errorf("before the policies are stored: %v", err)
	}
	if _, err := c.Seed(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	m.caughtUp("all", limiter.UsageQuery{}, 4)
}

// testUnseenKey: a key that an instance has not seen is not unknown for that.
func testUnseenKey(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, `{"unknown_keys":"deny","limits":{"all":{"scope":"key","kind":"quota","amount":10,"per":"month"}}}`)
	if _, err := m.instances[0].PutEntry(t.Context(), keyEntry(limiter.KeyID("sk-1")), []byte(`{}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	m.cut(true)
	if _, err := m.instances[1].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"}); errors.Is(err, limiter.ErrUnknownKey) {
		t.Errorf("a customer's good key is refused for good (403), not 503: %v", err)
	}
}

// testLeave ends an instance just when the store is back: it brings there what it granted, without being asked for anything.
func testLeave(t *testing.T, b Backend) {
	m, _ := outageHold(t, b, month, time.Minute)
	m.ask(0, limiter.Ask{Key: "sk-2", Cost: tokens(5)})
	m.cut(false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m.instances[0].Leave(ctx)
	if used := m.usage(1, limiter.UsageQuery{})["all"].Used; used != 15 {
		t.Errorf("%d used, want 15", used)
	}
}

// outageHold has the first of two instances grant a hold without the store.
func outageHold(t *testing.T, b Backend, limits string, ttl time.Duration) (*team, string) {
	m := newTeam(t, b, 2, limits)
	m.cut(true)
	d := m.ask(0, limiter.Ask{Key: "sk-1", Cost: tokens(10), Hold: true, TTL: ttl})
	return m, d.PermitID
}
