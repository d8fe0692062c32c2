package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// Units that a limit counts, by its own name too, and those that none does.

const summed = `"all": {"scope":"key","kind":"rate","unit":"tokens","counts":{"in":1,"out":5},"amount":1000,"per":"10d"}`

// costs are amounts by unit, in order.
func costs(units ...any) (c limiter.Costs) {
	for i := 0; i < len(units); i += 2 {
		c = append(c, limiter.Cost{Unit: units[i].(string), Amount: int64(units[i+1].(int))})
	}
	return c
}

// testOwnUnit: an ask and a settlement may name what a limit counts by the limit's own unit.
func testOwnUnit(t *testing.T, b Backend) {
	n := newBench(t, b, summed)
	p := n.hold(0, costs("tokens", 500))
	n.remaining("all", 500)
	n.settle(p, costs("tokens", 300), by{"all": -200}, nil)
	p = n.hold(0, costs("tokens", 300))
	n.settle(p, costs("in", 50, "out", 10, "tokens", 0), by{"all": -200}, nil)
	p = n.hold(0, costs("in", 100))
	n.settle(p, costs("tokens", 20), by{"all": 20}, nil) // 100 stays, as of every unit that is not named
	n.remaining("all", 1000-300-100-120)
	if d := n.askFor(limiter.Ask{Key: "sk-1", Cost: costs("tokens", 481)}); d.Allowed || len(d.IgnoredUnits) > 0 {
		t.Errorf("%+v", d)
	}
}

// testIgnoredUnits: a settlement says which of its units nothing counts, and a later one says what the first did.
func testIgnoredUnits(t *testing.T, b Backend) {
	n := newBench(t, b, summed+`, "slots": {"scope":"key","kind":"concurrency","amount":5}`)
	ctx := context.Background()
	for _, c := range []struct {
		first limiter.Costs
		want  []string
	}{
		{costs("in", 5, "zebras", 1, "tokens", 1, "requests", 1, "ants", 2), []string{"zebras", "ants"}},
		{costs("zebras", 1), []string{"zebras"}},
		{costs("in", 5), nil},
		{nil, nil},
	} {
		p := n.hold(time.Minute, costs("in", 10, "bees", 1))
		for i, actual := range []limiter.Costs{c.first, c.first, costs("bees", 1), nil} {
			s, err := n.Settle(ctx, p, actual)
			if err != nil || !slices.Equal(s.IgnoredUnits, c.want) || s.Repeated != (i > 0) {
				t.Errorf("settled to %v and then to %v: %+v, %v; want %q", c.first, actual, s, err, c.want)
			}
		}
		if _, err := n.Cancel(ctx, p); !errors.Is(err, limiter.ErrPermitClosed) {
			t.Errorf("cancelled after that: %v", err)
		}
	}
	if s, err := n.Cancel(ctx, n.hold(0, costs("bees", 1))); err != nil || len(s.IgnoredUnits) > 0 {
		t.Errorf("cancelled: %+v, %v", s, err)
	}
}

// testIgnoredUnitsOfAnOutage: so does one that reaches an instance which can't close the hold yet.
func testIgnoredUnitsOfAnOutage(t *testing.T, b Backend) {
	m, id := outageHold(t, b, month, time.Minute)
	settle := func(actual limiter.Costs) {
		t.Helper()
		s, err := m.instances[1].Settle(t.Context(), id, actual)
		if err != nil || s.Adjusted["all"] != 15 || !slices.Equal(s.IgnoredUnits, []string{"zebras"}) {
			t.Errorf("settled to %v: %+v, %v", actual, s, err)
		}
	}
	settle(costs("tokens", 25, "zebras", 1))
	settle(costs("tokens", 4))
	m.cut(false)
	m.caughtUp("all", limiter.UsageQuery{}, 25)
	settle(costs("ants", 4))
}

// testStrict: what the policy has no words for is refused, with the store and without it; what was granted before stays so.
func testStrict(t *testing.T, b Backend) {
	for _, failure := range []string{"share", "allow"} {
		m := newTeam(t, b, 1, `{"on_store_failure":"`+failure+`","limits":{"all":{"scope":"key","kind":"quota","unit":"tokens","amount":1000,"per":"month","models":["good"]}}}`)
		once := limiter.Ask{Key: "sk-1", Model: "bad", Cost: costs("tokns", 1), IdempotencyKey: "once"}
		if d := m.ask(0, once); !d.Allowed || !d.UnknownModel || !slices.Equal(d.UnknownUnits, []string{"tokns"}) {
			t.Errorf("%+v", d)
		}
		strict := []byte(`{"unknown_models":"deny","unknown_units":"deny","limits":{"all":{"required":true}}}`)
		if w, err := m.instances[0].PatchPolicy(t.Context(), provider, strict, limiter.Edit{}); err != nil || len(w.Restarted) > 0 {
			t.Fatal(w, err)
		}
		if d := m.ask(0, once); !d.Replayed {
			t.Errorf("a grant of before is not repeated: %+v", d)
		}
		for range 2 {
			for _, c := range []struct {
				ask  limiter.Ask
				want error
			}{
				{limiter.Ask{Model: "bad", Cost: costs("tokens", 1)}, limiter.ErrUnknownModel},
				{limiter.Ask{Model: "good", Cost: costs("tokens", 1, "tokns", 1)}, limiter.ErrInvalid},
				{limiter.Ask{Model: "good"}, limiter.ErrInvalid},
				{limiter.Ask{Model: "good", Cost: costs("tokens", 1)}, nil},
			} {
				c.ask.Provider, c.ask.Key = provider, "sk-1"
				if d, err := m.instances[0].Acquire(t.Context(), c.ask); !errors.Is(err, c.want) || err == nil && !d.Allowed {
					t.Errorf("%s: %+v: %+v, %v", failure, c.ask, d, err)
				}
				if r, err := m.instances[0].Preview(t.Context(), provider, nil, []limiter.Ask{c.ask}); err == nil && !errors.Is(r[0].Err, c.want) {
					t.Errorf("preview of %+v: %+v", c.ask, r)
				}
			}
			m.cut(true)
		}
	}
}
