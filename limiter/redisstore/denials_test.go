package redisstore

import (
	"strconv"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const noon = limiter.Instant(1795435200_000000)

// tenPerSecond are terms with a burst of 10.
func tenPerSecond(mode limiter.Mode) *limiter.Terms {
	return &limiter.Terms{
		Limit:    &limiter.Limit{Kind: limiter.KindRate, Mode: mode, Amount: 10, Burst: 10},
		Schedule: limiter.Schedule{Changes: []limiter.RateChange{{At: noon - 1, Rate: limiter.Rate{Units: 10, Per: 1e6}}}},
	}
}

// denied is a charge that found its counter full at noon.
func denied(terms *limiter.Terms, subject string) *limiter.Charge {
	change := terms.Schedule.Changes[0]
	return &limiter.Charge{
		NotAfter: noon + 1e6,
		Lines: []limiter.Line{{Terms: terms, Subject: subject, Cost: 1,
			State: limiter.State{Used: 10, Mark: noon, Rate: change.Rate, Since: change.At, Total: 10}}},
		Outcome: limiter.Outcome{Verdict: limiter.Denied, Now: noon},
	}
}

func ask1(terms *limiter.Terms, subject string, cost int64) *limiter.Charge {
	return &limiter.Charge{NotAfter: noon + 1e6, Lines: []limiter.Line{{Terms: terms, Subject: subject, Cost: cost, Free: cost == 0}}}
}

func TestDenialHoldsUntilTheCostMayFit(t *testing.T) {
	const ms = time.Millisecond
	terms := tenPerSecond(limiter.Enforce)
	d := newDenials()
	d.learn(denied(terms, "k"), time.Hour)
	for _, at := range []struct {
		after time.Duration
		cost  int64
		held  bool
	}{{0, 1, true}, {99 * ms, 1, true}, {100 * ms, 1, false}, {100 * ms, 2, true}, {199 * ms, 2, true}, {200 * ms, 2, false},
		{200 * ms, 10, true}, {249 * ms, 10, true}, {250 * ms, 10, false}, {0, 0, false}} {
		c := ask1(terms, "k", at.cost)
		if got := d.deny(c, time.Hour+at.after); got != at.held {
			t.Errorf("a cost of %d after %v: denied %v, want %v", at.cost, at.after, got, at.held)
		} else if got && (c.Outcome.Verdict != limiter.Denied || c.Outcome.Now != noon+limiter.Instant(at.after.Microseconds()) || c.Lines[0].Fits) {
			t.Errorf("a cost of %d after %v: %+v %+v", at.cost, at.after, c.Outcome, c.Lines[0])
		}
	}
	for after, held := range map[time.Duration]bool{99 * ms: true, 100 * ms: false} {
		c := ask1(terms, "k", 0)
		if c.Lines[0].Free = false; d.deny(c, time.Hour+after) != held {
			t.Errorf("a cost of 0 that needs one unit, after %v: denied %v, want %v", after, !held, held)
		}
	}
	if c := ask1(terms, "k", 1); !d.deny(c, time.Hour+50*ms) || c.Lines[0].State.Used != 9 || c.Lines[0].State.Part != 500_000 {
		t.Errorf("half a unit drained in 50 ms: %+v", c.Lines[0].State)
	}
}

func TestGrantIsSeenInLaterDenials(t *testing.T) {
	terms := tenPerSecond(limiter.Enforce)
	d := newDenials()
	c := denied(terms, "k")
	c.Outcome.Verdict = limiter.Granted
	d.learn(c, time.Hour)
	if d.deny(ask1(terms, "k", 1), time.Hour) {
		t.Error("denied by a grant alone")
	}
	c = denied(terms, "k")
	c.Lines[0].State.Used = 5
	d.learn(c, time.Hour) // there was no room for 6
	c = denied(terms, "k")
	c.Lines[0].State.Used, c.Lines[0].State.Mark, c.Outcome = 8, noon+1, limiter.Outcome{Verdict: limiter.Granted, Now: noon + 1}
	d.learn(c, time.Hour)
	if a := ask1(terms, "k", 3); !d.deny(a, time.Hour) || a.Lines[0].State.Used != 8 {
		t.Errorf("with 8 of 10 used, 3 more: %+v", a)
	}
	c.Lines[0].State.Used, c.Outcome.Now = 5, noon // an older answer that took longer
	d.learn(c, time.Hour)
	if !d.deny(ask1(terms, "k", 3), time.Hour) {
		t.Error("an older answer replaced a newer one")
	}
}

func TestClosedHoldsAreKnown(t *testing.T) {
	terms, others := tenPerSecond(limiter.Enforce), tenPerSecond(limiter.Enforce)
	d := newDenials()
	d.learn(denied(terms, "k"), time.Hour)
	d.learn(denied(others, "k"), time.Hour)
	closing := &limiter.Closing{
		Lines: []limiter.ClosingLine{{Terms: terms, Subject: "k"}, {Terms: others, Subject: "k"}, {}},
		Outcome: limiter.ClosingOutcome{Verdict: limiter.Granted, Now: noon + 1,
			Hold: limiter.Hold{Changes: []limiter.LineChange{{Adjusted: 5}, {}, {}}}},
	}
	d.changed(closing)
	if d.deny(ask1(terms, "k", 1), time.Hour) {
		t.Error("denied by what was known before a hold was settled")
	}
	if !d.deny(ask1(others, "k", 1), time.Hour) {
		t.Error("a counter that the settlement left alone was forgotten")
	}
	d.learn(denied(terms, "k"), time.Hour) // it was decided before the settlement, and came back after it
	if d.deny(ask1(terms, "k", 1), time.Hour) {
		t.Error("an answer from before the settlement was learned after it")
	}
}

func TestWhatIsNotKnownGoesToRedis(t *testing.T) {
	terms, others := tenPerSecond(limiter.Enforce), tenPerSecond(limiter.Enforce)
	d := newDenials()
	if d.deny(ask1(terms, "k", 1), 0) {
		t.Error("denied though nothing was learnt")
	}
	d.learn(denied(terms, "k"), time.Hour)
	dry, late, two := ask1(terms, "k", 1), ask1(terms, "k", 1), ask1(terms, "k", 1)
	dry.DryRun = true
	late.NotAfter = noon - 1
	two.Lines = append(two.Lines, ask1(others, "", 1).Lines...)
	for name, c := range map[string]*limiter.Charge{
		"another key":                 ask1(terms, "other", 1),
		"terms of an edited document": ask1(others, "k", 1),
		"a dry run":                   dry,
		"an ask that is too late":     late,
		"one more counter":            two,
		"no counter":                  {NotAfter: noon + 1e6},
	} {
		if d.deny(c, time.Hour) {
			t.Errorf("%s: denied", name)
		}
	}
	d = newDenials()
	c := denied(terms, "k")
	c.DryRun = true
	d.learn(c, time.Hour)
	if d.deny(ask1(terms, "k", 1), time.Hour) {
		t.Error("denied by what a dry run found")
	}
}

func TestShadowsAndWindowsThatTurnedDenyNothing(t *testing.T) {
	shadow := tenPerSecond(limiter.Shadow)
	d := newDenials()
	d.learn(denied(shadow, "k"), time.Hour)
	if d.deny(ask1(shadow, "k", 1), time.Hour) {
		t.Error("denied by a shadow")
	}
	quota := &limiter.Terms{Limit: &limiter.Limit{Kind: limiter.KindQuota, Mode: limiter.Enforce, Amount: 10, Burst: 10}}
	c := denied(tenPerSecond(limiter.Enforce), "k")
	c.Lines[0].Terms, c.Lines[0].State = quota, limiter.State{Used: 10, Mark: noon + 50_000}
	d.learn(c, time.Hour)
	in := func(start, end limiter.Instant) *limiter.Charge {
		c := ask1(quota, "k", 1)
		c.Lines[0].Window = limiter.Window{Start: start, End: end}
		return c
	}
	if !d.deny(in(noon-1e6, noon+50_000), time.Hour+49*time.Millisecond) {
		t.Error("not denied in the window")
	}
	if d.deny(in(noon-1e6, noon+50_000), time.Hour+50*time.Millisecond) {
		t.Error("denied by a window that is over")
	}
	if d.deny(in(noon+50_000, noon+1e6), time.Hour+50*time.Millisecond) {
		t.Error("denied by the window before")
	}
}

func TestDenialsAreBounded(t *testing.T) {
	terms := tenPerSecond(limiter.Enforce)
	d := newDenials()
	for i := range maxDenials + 100 {
		d.learn(denied(terms, strconv.Itoa(i)), time.Hour)
	}
	if n := d.seen.Len(); n != maxDenials {
		t.Errorf("%d counters remembered, want %d", n, maxDenials)
	}
}
