package limiter

import (
	"math/rand/v2"
	"testing"
	"time"
)

const second = Instant(1_000_000)

// perSecond are figures with room for 1000 units of debt.
func perSecond(amount int64) figures {
	return figures{amount: amount, burstSet: 1000, per: time.Second}
}

// debt is what the limit's counter holds at now, charged full before.
func (d *tuned) debt(st State, now Instant) int64 { return d.terms.Advance(st, now, Window{}).whole() }

// full is a counter with 1000 units of debt at now.
func (d *tuned) full(now Instant) State {
	return d.terms.Charge(d.terms.Advance(State{}, now, Window{}), 1000)
}

func TestEachStretchDrainsAtTheRateThatHeldThen(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(10).policy())
	st := d.full(noon + second)
	d.setPolicy(noon+11*second, perSecond(1).policy())
	d.setPolicy(noon+21*second, perSecond(50).policy())
	for _, at := range []struct {
		seconds Instant
		debt    int64
	}{{1, 1000}, {2, 990}, {11, 900}, {12, 899}, {21, 890}, {22, 840}, {38, 40}, {39, 0}, {1e6, 0}} {
		if got := d.debt(st, noon+at.seconds*second); got != at.debt {
			t.Errorf("%d s after noon: %d units of debt, want %d", at.seconds, got, at.debt)
		}
	}
}

func TestEditInTheMicrosecondOfADecisionIsInForceFromThenOn(t *testing.T) {
	for _, after := range []int64{1, 10, 100} {
		d := &tuned{tb: t}
		d.setPolicy(noon, perSecond(10).policy())
		st := d.full(noon + second)
		d.setPolicy(noon+second, perSecond(after).policy())
		if got, want := d.debt(st, noon+2*second), 1000-after; got != want {
			t.Errorf("from 10 to %d units a second: %d units of debt a second later, want %d", after, got, want)
		}
	}
}

func TestEditsInOneMicrosecondLeaveTheLastInForce(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(10).policy())
	st := d.full(noon + second)
	d.setPolicy(noon+2*second, perSecond(500).policy())
	d.setPolicy(noon+2*second, perSecond(5).policy())
	if got := d.debt(st, noon+3*second); got != 985 {
		t.Errorf("%d units of debt, want 985: 10 drained before the edits and 5 after them", got)
	}
}

func TestDroppedChangesDrainAtTheSlowestOfThem(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(10).policy())
	st := d.full(noon + second)
	d.setPolicy(noon+2*second, perSecond(3).policy())
	d.setPolicy(noon+3*second, perSecond(20).policy())
	for i := range Instant(maxChanges - 1) { // of 18 rates the last 16 are kept: 10 and 3 a second are dropped
		d.setPolicy(noon+(11+i)*second, perSecond(20+int64(i+1)%2).policy())
	}
	if got, want := d.debt(st, noon+11*second), int64(1000-2*3-8*20); got != want {
		t.Errorf("%d units of debt, want %d: 3 a second until the oldest change that is known", got, want)
	}
	d = &tuned{tb: t}
	d.setPolicy(noon, perSecond(1).policy())
	st = d.full(noon + second)
	for i := range Instant(100) {
		d.setPolicy(noon+(2+i)*second, perSecond(20+int64(i+1)%2).policy())
	}
	if got, want := d.debt(st, noon+101*second), int64(1000-85*1-8*21-7*20); got != want {
		t.Errorf("%d units of debt, want %d: 1 a second for 85, then 15 that are known", got, want)
	}
}

func TestDroppedOverridesDoNotDrainFasterThanTheyDid(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(100).policy())
	d.setEntry(noon, figures{amount: 50}.entry())
	st := d.full(noon + second)
	d.setEntry(noon+2*second, figures{amount: 1}.entry())
	for i := range Instant(maxChanges + 1) { // the override to 1 a second is among those that are dropped
		d.setEntry(noon+(202+i)*second, figures{amount: 50 + int64(i)%2}.entry())
	}
	now := noon + 203*second
	if got, most := d.debt(st, now), int64(1000-50-200-51); got < most {
		t.Errorf("%d units of debt, want at least %d: 50 drained in a second, 200 in 200, 51 in one", got, most)
	}
}

func TestOverrideOlderThanTheKnownChangesOfThePolicyStillSlowsTheDrain(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(100).policy())
	st := d.full(noon + second)
	d.setEntry(noon+2*second, figures{amount: 1}.entry())
	for i := range Instant(maxChanges + 1) { // the override stands, so these change nothing
		d.setPolicy(noon+(202+i)*second, perSecond(100+int64(i+1)%2).policy())
	}
	if got, most := d.debt(st, noon+203*second), int64(1000-100-201); got < most {
		t.Errorf("%d units of debt, want at least %d: 100 drained in a second, then 1 a second", got, most)
	}
}

func TestWhileAnOverrideDoesNotFitThePolicyItIsClamped(t *testing.T) {
	strict := func(amount int64) figures {
		return figures{amount: amount, burstSet: 1, per: time.Second, strict: true}
	}
	d := &tuned{tb: t}
	d.setPolicy(noon, strict(101).policy())
	d.setEntry(noon, figures{burstSet: 60}.entry()) // 41 a second
	st := d.terms.Charge(d.terms.Advance(State{}, noon+second, Window{}), 60)
	d.setPolicy(noon+2*second, strict(11).policy()) // a burst of 60 can't be: 10 a second
	if got, want := d.debt(st, noon+2*second+500_000), int64(60-41-5); got != want {
		t.Errorf("under a policy that the override does not fit: %d units of debt, want %d", got, want)
	}
	d.setPolicy(noon+3*second, strict(101).policy())
	if got, want := d.debt(st, noon+3*second), int64(60-41-10); got != want {
		t.Errorf("back under one that it fits: %d units of debt, want %d", got, want)
	}
}

func TestOverrideThatBecomesUnfitHasSlowedTheDrainUntilThen(t *testing.T) {
	strict := func(burst int64) figures {
		return figures{amount: 1000, burstSet: burst, per: time.Second, strict: true}
	}
	d := &tuned{tb: t}
	d.setPolicy(noon, strict(900).policy()) // 100 a second
	st := d.terms.Charge(d.terms.Advance(State{}, noon, Window{}), 900)
	d.setEntry(noon+second, figures{amount: 901}.entry()) // 1 a second
	d.setPolicy(noon+6*second, strict(950).policy())      // a burst of 950 is above the 901: 50 a second
	if got, want := d.debt(st, noon+7*second), int64(900-100-5-50); got != want {
		t.Errorf("%d units of debt, want %d: 100 in a second, 5 in five, 50 in one", got, want)
	}
}

func TestEditAfterTheClockSteppedBackIsInForceFromThenOn(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(100).policy())
	d.setPolicy(noon+100*second, perSecond(50).policy())
	st := d.full(noon + 40*second) // the clock stepped back by a minute
	d.setPolicy(noon+50*second, perSecond(1).policy())
	if got := d.debt(st, noon+70*second); got < 1000-10*50-20 {
		t.Errorf("%d units of debt, want at least 480: 50 a second before the last edit and 1 since", got)
	}
}

func TestCounterWrittenAfterTheClockSteppedBackDrainsAtTheRateItWasWrittenUnder(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(100).policy())
	d.setPolicy(noon+10*second, perSecond(50).policy())
	d.setPolicy(noon+15*second, perSecond(1).policy())
	st := d.full(noon + 5*second) // the clock stepped back behind both edits
	if got := d.debt(st, noon+20*second); got != 985 {
		t.Errorf("%d units of debt, want 985: 1 a second for 15 seconds", got)
	}
	d.setPolicy(noon+7*second, perSecond(40).policy()) // and is still behind them
	if got, want := d.debt(st, noon+9*second), int64(1000-2-80); got != want {
		t.Errorf("%d units of debt, want %d: 1 a second for 2 seconds, then 40", got, want)
	}
}

// TestNoHistoryDrainsMoreThanPassed makes more edits than are kept, of the policy and of the entry, in any order, also
// such as make the override unfit, and in the microsecond of a decision.
func TestNoHistoryDrainsMoreThanPassed(t *testing.T) {
	seed := seedOf(t)
	for scenario := range uint64(decisions(t, 200_000) / 1000) {
		rng := rand.New(rand.NewPCG(seed, scenario))
		base, over := randomFigures(rng), figures{}
		effective := func() figures {
			if f := base.under(over); f.accepted() {
				return f
			}
			return base.clamped(over)
		}
		now := noon
		d := &tuned{tb: t}
		d.setPolicy(now, base.policy())
		for range 5 {
			per := base.rate().Per
			now += Instant(rng.Int64N(per))
			st := d.terms.Charge(d.terms.Advance(State{}, now, Window{}), effective().burst())
			k := newBucket(now, effective().rate())
			k.charge(st.Used)
			for range rng.IntN(3 * maxChanges) {
				now += Instant(rng.Int64N(2) * rng.Int64N(per/8))
				f := randomFigures(rng)
				if rng.IntN(2) == 0 {
					base = figures{amount: f.amount, per: base.per, burstSet: base.burstSet, strict: f.strict, slack: f.slack}
					if !base.accepted() {
						base = f
					}
					d.setPolicy(now, base.policy())
				} else if o := (figures{amount: f.amount, burstSet: f.burstSet}); base.under(o).accepted() {
					over = o
					d.setEntry(now, over.entry())
				}
				k.edit(now, effective().rate())
			}
			now += Instant(rng.Int64N(per / 4))
			st = d.terms.Advance(st, now, Window{})
			if k.advance(now); st.Rate != k.rate || k.compare(st) < 0 {
				t.Fatalf("PERMITD_SEED=%d, scenario %d: policy %s, entry %s\nstate %+v holds fewer than %v/%d units at %v",
					seed, scenario, d.policy.Body, d.entry.Body, st, &k.parts, k.per, k.rate)
			}
		}
	}
}
