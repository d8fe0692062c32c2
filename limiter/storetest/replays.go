package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// testKindsThroughAnOutage has limits become slots, or be slots no longer, while an instance is cut off that charges them: what it
// granted is charged where that still means something, and keeps nothing else from being charged.
func testKindsThroughAnOutage(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, `{"limits":{
		"all":{"scope":"provider","kind":"quota","amount":1000,"per":"month"},
		"quota":{"scope":"provider","kind":"quota","amount":1000,"per":"month"},
		"rate":{"scope":"provider","kind":"rate","amount":1000,"per":"31d"},
		"slots":{"scope":"provider","kind":"concurrency","amount":1000}}}`)
	m.links[0].off.Store(true)
	m.ask(0, limiter.Ask{Key: "sk-1", Cost: requests(10), Hold: true})
	m.ask(0, limiter.Ask{Key: "sk-2", Cost: requests(10), Hold: true, IdempotencyKey: "a"})
	settled := m.ask(0, limiter.Ask{Key: "sk-3", Cost: requests(10)})
	if _, err := m.instances[0].Settle(t.Context(), settled.PermitID, nil); err != nil {
		t.Fatal(err)
	}
	m.patch(m.instances[1], `{"limits":{
		"quota":{"kind":"concurrency","per":null},
		"rate":{"kind":"concurrency","per":null},
		"slots":{"kind":"quota","per":"month"}}}`)
	m.cut(false)
	m.caughtUp("all", limiter.UsageQuery{}, 30)
	for _, name := range []string{"quota", "rate", "slots"} {
		if used := m.usage(1, limiter.UsageQuery{})[name].Used; used != 0 {
			t.Errorf("%s: %d used, want none", name, used)
		}
	}
}

// deaf is a link whose answers to charges that make a hold are lost so often, though they are made.
type deaf struct {
	limiter.Store
	left  atomic.Int64
	calls atomic.Int64
}

func (s *deaf) Decide(ctx context.Context, charges []*limiter.Charge) {
	s.Store.Decide(ctx, charges)
	for _, c := range charges {
		if c.Hold == nil || c.DryRun {
			continue
		}
		s.calls.Add(1)
		if s.left.Add(-1) >= 0 {
			c.Outcome = limiter.Outcome{Err: errCut}
		}
	}
}

// testHandedOverAgain has the store hear of a hold twice.
func testHandedOverAgain(t *testing.T, b Backend) {
	for _, key := range []string{"", "a"} {
		m, _ := outageHold(t, b, month, time.Minute)
		m.ask(0, limiter.Ask{Key: "sk-2", Cost: tokens(5), Hold: true, IdempotencyKey: key})
		link := &deaf{Store: m.links[0].Store}
		link.left.Store(1)
		m.links[0].Store = link
		m.cut(false)
		m.caughtUp("all", limiter.UsageQuery{}, 15)
		eventually(t, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if m.instances[0].Leave(ctx); ctx.Err() != nil {
				return fmt.Errorf("something is owed still")
			}
			return nil
		})
		if n := link.calls.Load(); n > 6 {
			t.Errorf("2 holds were handed over in %d charges", n)
		}
	}
}
