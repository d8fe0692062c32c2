package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// afterwards is a limit that is charged when a hold is settled, and reserves nothing.
const afterwards = `"otpm": {"scope":"key","kind":"rate","unit":"output_tokens","counts":{"output_tokens":1},
	"reserve_counts":{"output_tokens":0},"amount":1000,"per":"1h","burst":1000}`

// testReservesNothing: who reserves nothing is denied while not one unit fits.
func testReservesNothing(t *testing.T, b Backend) {
	n := newBench(t, b, afterwards)
	p := n.hold(time.Minute, costs("output_tokens", 300))
	n.settle(p, costs("output_tokens", 1800), by{"otpm": 1800}, nil)
	const wait = 48*time.Minute + 3600*time.Millisecond // until 999 are owed: 801 at 1000 an hour
	for name, ask := range map[string]limiter.Ask{
		"a hold":                     {Cost: costs("output_tokens", 300), Hold: true},
		"a hold of nothing":          {Cost: costs("output_tokens", 0), Hold: true},
		"a hold without a cost":      {Hold: true},
		"a dry run":                  {Cost: costs("output_tokens", 300), DryRun: true},
		"an ask without a cost":      {},
		"an ask of another unit":     {Cost: costs("input_tokens", 5)},
		"a hold under a key of ours": {Hold: true, IdempotencyKey: "k"},
	} {
		ask.Key = "sk-1"
		if d := n.askFor(ask); d.Allowed || d.RetryAfter != wait || d.Limits[0].Cost != 0 || d.PermitID != "" {
			t.Errorf("%s: %+v, want it denied for %v", name, d, wait)
		}
	}
	n.zeroPasses()
	n.at(wait - time.Microsecond)
	if d := n.askFor(limiter.Ask{Key: "sk-1", Hold: true}); d.Allowed {
		t.Errorf("a microsecond early: %+v", d)
	}
	n.at(wait)
	n.hold(time.Minute, nil)
}

// zeroPasses expects an ask to be granted that leads to no hold and names all units as 0 itself.
func (n *bench) zeroPasses() {
	n.Helper()
	if d := n.askFor(limiter.Ask{Key: "sk-1", Cost: costs("output_tokens", 0)}); !d.Allowed || d.Limits[0].RetryAfter != 0 {
		n.Errorf("an ask that names the unit as 0: %+v", d)
	}
}

// testReservesNothingElsewhere: the same in a shadow limit, batches and previews, and for one of several units.
func testReservesNothingElsewhere(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, afterwards+`,
		"shadow": {"scope":"key","kind":"rate","unit":"input_tokens","amount":10,"per":"1h","mode":"shadow"},
		"both": {"scope":"pool","kind":"quota","unit":"tokens","counts":{"input_tokens":1,"output_tokens":1},"amount":2000,"per":"day"}`)
	p := n.hold(time.Minute, costs("input_tokens", 10))
	n.settle(p, costs("output_tokens", 1000), by{"otpm": 1000, "both": 1000}, nil)
	mixed := limiter.Ask{Provider: provider, Key: "sk-1", Cost: limiter.Costs{{Unit: "input_tokens", Amount: 0}, {Unit: "output_tokens", Amount: 0}}}
	held := mixed
	held.Hold = true
	results := n.AcquireBatch(ctx, []limiter.Ask{mixed, held})
	if d, err := results[0].Decision, results[0].Err; err != nil || !d.Allowed || d.Limits[2].WouldDeny {
		t.Errorf("all named as 0: %+v, %v", d, err)
	}
	if d, err := results[1].Decision, results[1].Err; err != nil || d.Allowed || !d.Limits[1].Refused || !d.Limits[2].WouldDeny || d.Limits[0].Refused {
		t.Errorf("a hold: %+v, %v", d, err)
	}
	if d := n.askFor(limiter.Ask{Key: "sk-1", Cost: costs("tokens", 0, "output_tokens", 0)}); !d.Allowed || d.Limits[0].RetryAfter != 0 {
		t.Errorf("the sum named as 0: %+v", d)
	}
	one := limiter.Ask{Key: "sk-1", Cost: costs("output_tokens", 0)} // shadow would deny, since it is not named
	if d := n.askFor(one); !d.Allowed || !d.Limits[2].WouldDeny || d.Limits[2].RetryAfter != 6*time.Minute {
		t.Errorf("one of two units: %+v", d)
	}
	previewed, err := n.Preview(ctx, provider, nil, []limiter.Ask{mixed, held})
	if err != nil || !previewed[0].Decision.Allowed || previewed[1].Decision.Allowed || previewed[1].Decision.RetryAfter != 3600*time.Millisecond {
		t.Errorf("preview: %+v %+v, %v", previewed[0].Decision, previewed[1].Decision, err)
	}
	for _, l := range []string{"otpm", "shadow", "both"} {
		n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, l) // to look is never denied
	}
}

// testFreeSlotNeeded: a hold that takes no slots is denied while none is free.
func testFreeSlotNeeded(t *testing.T, b Backend) {
	n := newBench(t, b, `"gpus": {"scope":"key","kind":"concurrency","unit":"gpus","counts":{"gpus":1},"amount":2}`)
	p := n.hold(time.Minute, costs("gpus", 2))
	if d := n.askFor(limiter.Ask{Key: "sk-1", Hold: true}); d.Allowed || d.RetryAfter != time.Second {
		t.Errorf("with no slot free: %+v", d)
	}
	n.cancel(p, nil)
	n.hold(time.Minute, nil)
	if used := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, "gpus").Used; used != 0 {
		t.Errorf("%d slots are taken by a hold of none", used)
	}
}

// testDenialAfterSettling: a denial that follows a settlement at the same instance knows of it. It runs on the store's own
// clock, by which a store may remember denials.
func testDenialAfterSettling(t *testing.T, b Backend) {
	ctx := context.Background()
	n := &bench{T: t, Coordinator: limiter.New(b.Open(t))}
	n.put(`"rpm": {"scope":"key","kind":"rate","amount":100,"per":"100h"}`)
	n.twin(`"rpm": {"scope":"key","kind":"rate","amount":100,"per":"100h"}`)
	p, q := n.hold(time.Minute, requests(10)), n.hold(time.Minute, requests(10))
	n.grant(80)
	denied := func(hours time.Duration) {
		t.Helper()
		if d := n.ask(1); d.Allowed || d.RetryAfter > hours*time.Hour || d.RetryAfter < hours*time.Hour-time.Minute {
			t.Errorf("%+v, want it denied for %d hours", d, hours)
		}
	}
	denied(1)
	if _, err := n.Settle(ctx, p, requests(80)); err != nil {
		t.Fatal(err)
	}
	denied(71)
	if _, err := n.Settle(ctx, q, requests(0)); err != nil {
		t.Fatal(err)
	}
	denied(61)
}

// testReservesNothingAlone: an instance that decides without the store denies who reserves nothing as well.
func testReservesNothingAlone(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, `{"limits":{`+afterwards+`}}`)
	m.cut(true)
	held := limiter.Ask{Key: "sk-1", Cost: costs("output_tokens", 300), Hold: true}
	d := m.ask(0, held)
	if _, err := m.instances[0].Settle(t.Context(), d.PermitID, costs("output_tokens", 900)); err != nil {
		t.Fatal(err)
	}
	if d := m.ask(0, held); d.Allowed || !d.Degraded || d.RetryAfter == 0 {
		t.Errorf("a hold of nothing, 400 beyond this instance's half: %+v", d)
	}
	if d := m.ask(0, limiter.Ask{Key: "sk-1", Cost: costs("output_tokens", 0)}); !d.Allowed || !d.Degraded {
		t.Errorf("an ask that names the unit as 0: %+v", d)
	}
	if d := m.ask(1, held); !d.Allowed || !d.Degraded {
		t.Errorf("the other instance has its own half: %+v", d)
	}
}
