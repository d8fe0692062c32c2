package limiter

import (
	"math/rand/v2"
	"testing"
)

// TestDecisionsAgreeWithExactArithmetic makes random decisions under random edits of a policy and of an entry laid over
// it, on a clock that now and then steps back, and compares every figure with the oracle's. PERMITD_DECISIONS says how
// many, PERMITD_SEED repeats a run.
func TestDecisionsAgreeWithExactArithmetic(t *testing.T) {
	total, seed := decisions(t, 200_000), seedOf(t)
	granted, scenarios := 0, uint64(0)
	for n := 0; n < total; scenarios++ {
		d := newDuel(t, rand.New(rand.NewPCG(seed, scenarios)))
		for range 300 {
			if n++; !d.step() {
				t.Fatalf("PERMITD_SEED=%d, scenario %d, decision %d: %s", seed, scenarios, n, d.disagreement)
			}
		}
		granted += d.granted
	}
	if granted < total/5 || granted > total*4/5 {
		t.Errorf("%d of %d were granted: the decisions are too much alike to say anything", granted, total)
	}
}

// duel is one counter in the code and in the oracle.
type duel struct {
	rng        *rand.Rand
	limit      tuned
	base, over figures // as the documents have them
	edits      int
	lastEdit   Instant
	state      State
	oracle     *bucket
	now        Instant

	granted      int
	disagreement string
}

func newDuel(tb testing.TB, rng *rand.Rand) *duel {
	d := &duel{rng: rng, limit: tuned{tb: tb}, base: randomFigures(rng), now: noon + Instant(rng.Int64N(1e15))}
	d.limit.setPolicy(d.now, d.base.policy())
	d.lastEdit = d.now
	d.oracle = newBucket(d.now, d.inForce().rate())
	return d
}

// inForce are the figures that hold: what the entry says, over what the policy says.
func (d *duel) inForce() figures { return d.base.under(d.over) }

// step makes one decision, perhaps after some edits.
func (d *duel) step() bool {
	d.move()
	if d.rng.IntN(40) == 0 {
		for range 1 + d.rng.IntN(4) {
			d.edit()
			d.move()
		}
	}
	f, terms := d.inForce(), d.limit.terms
	d.state = terms.Advance(d.state, d.now, Window{})
	d.oracle.advance(d.now)
	if !d.oracle.holds(d.state) {
		return d.differ("level", d.state, d.oracle.parts.String())
	}
	if d.rng.IntN(8) == 0 {
		d.now++ // asking must not need a state of the same microsecond
		d.state = terms.Advance(d.state, d.now, Window{})
		d.oracle.advance(d.now)
	}
	if got, want := terms.remaining(d.state), d.oracle.remaining(f.burst()); got != want {
		return d.differ("remaining", got, want)
	}
	if got, want := terms.Untouched(d.state, d.now), d.oracle.wait(0); got != want {
		return d.differ("untouched", got, want)
	}
	if got, want := d.state.drained(), d.now.Later(d.oracle.wait(0)); got != want {
		return d.differ("spent", got, want)
	}
	return d.ask(f, d.cost(f))
}

// ask makes the decision itself.
func (d *duel) ask(f figures, cost int64) bool {
	terms := d.limit.terms
	fits := d.oracle.fits(cost, f.burst())
	if got := terms.Fits(d.state, cost); got != fits {
		return d.differ("fits", got, fits)
	}
	wait := d.oracle.wait(max(0, f.burst()-cost))
	if fits {
		wait = 0
	}
	if got := terms.wait(d.state, cost, d.now); got != wait {
		return d.differ("wait", got, wait)
	}
	if wait > 0 && wait < Forever && cost <= f.burst() && d.rng.IntN(4) == 0 {
		due := d.now + Instant(wait.Microseconds())
		if terms.Fits(terms.Advance(d.state, due-1, Window{}), cost) || !terms.Fits(terms.Advance(d.state, due, Window{}), cost) {
			return d.differ("first fits elsewhere than after", wait, cost)
		}
	}
	switch {
	case fits:
		d.state = terms.Charge(d.state, cost)
		d.oracle.charge(cost)
		d.granted++
	case d.rng.IntN(16) == 0: // as a shadow limit is charged
		d.state = terms.Charge(d.state, cost)
		d.oracle.overflow(cost, f.burst()+f.amount)
	}
	if !d.oracle.holds(d.state) {
		return d.differ("level after the charge", d.state, d.oracle.parts.String())
	}
	return true
}

func (d *duel) differ(what string, got, want any) bool {
	d.limit.tb.Logf("policy %s, entry %s, now %d", d.limit.policy.Body, d.limit.entry.Body, d.now)
	d.limit.tb.Errorf("%s: got %v, want %v", what, got, want)
	d.disagreement = what
	return false
}

// move lets time pass: to where something is due, or just before or after, or anywhere, or back.
func (d *duel) move() {
	rate := d.oracle.rate
	switch d.rng.IntN(8) {
	case 0:
	case 1:
		d.now += Instant(d.rng.Int64N(3))
	case 2, 3:
		if wait := d.limit.terms.wait(d.state, d.cost(d.inForce()), d.now); wait < Forever/4 {
			d.now += Instant(wait.Microseconds()) + Instant(d.rng.Int64N(3)) - 1
		}
	case 4:
		d.now += Instant(rate.Per/rate.Units) + Instant(d.rng.Int64N(3))
	case 5:
		d.now += Instant(spread(d.rng, 1, 2*rate.Per))
	case 6:
		d.now += Instant(d.rng.Int64N(3)*rate.Per) + Instant(d.rng.Int64N(rate.Per))
	case 7:
		// Not to before an edit: which rate then holds when is no longer exact, but the slower of two.
		if back := int64(d.now - d.lastEdit); back > 0 && d.rng.IntN(4) == 0 {
			d.now -= Instant(spread(d.rng, 1, back))
		}
	}
	d.now = max(d.now, d.lastEdit) // a decision may come in the microsecond of the edit
}

// edit changes some figures of the policy or of the entry.
func (d *duel) edit() {
	if d.edits == maxChanges-1 || d.now <= d.oracle.at {
		return
	}
	base, over := d.base, d.over
	f := randomFigures(d.rng)
	target := &base
	if d.rng.IntN(2) == 0 {
		target = &over
	}
	if d.rng.IntN(2) == 0 {
		target.amount = f.amount
	}
	if d.rng.IntN(2) == 0 {
		target.per = f.per
	}
	if d.rng.IntN(2) == 0 {
		target.burstSet = f.burstSet
	}
	switch {
	case target == &base && d.rng.IntN(3) == 0:
		target.strict, target.slack = f.strict, f.slack
	case target == &over && d.rng.IntN(4) == 0:
		over = figures{} // what the policy says, again
	}
	if !base.accepted() || !base.under(over).accepted() {
		return
	}
	if target == &base {
		d.limit.setPolicy(d.now, base.policy())
	} else {
		d.limit.setEntry(d.now, over.entry())
	}
	d.base, d.over, d.lastEdit = base, over, d.now
	d.oracle.edit(d.now, d.inForce().rate())
	d.edits++
}

// cost draws what to ask for: near what fits, or anything.
func (d *duel) cost(f figures) int64 {
	switch d.rng.IntN(8) {
	case 0:
		return 0
	case 1:
		return 1
	case 2, 3:
		return d.oracle.remaining(f.burst())
	case 4:
		return d.oracle.remaining(f.burst()) + 1
	case 5:
		return f.burst()
	case 6:
		return f.burst() + 1
	}
	return spread(d.rng, 1, f.burst())
}
