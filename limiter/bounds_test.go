package limiter

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// grant is a cost that was admitted at a moment.
type grant struct {
	at   Instant
	cost int64
}

func drawFigures(strict bool) *rapid.Generator[figures] {
	return rapid.Custom(func(t *rapid.T) figures {
		f := figures{
			amount: rapid.OneOf(rapid.Int64Range(1, 20), rapid.Int64Range(1, MaxAmount)).Draw(t, "amount"),
			per: time.Duration(rapid.OneOf(rapid.Just(int64(1000)), rapid.Int64Range(1000, 60e6),
				rapid.Int64Range(1000, MaxPer.Microseconds())).Draw(t, "per_us")) * time.Microsecond,
			burstSet: rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, MaxAmount)).Draw(t, "burst"),
			strict:   strict,
		}
		if strict {
			f.amount = max(2, f.amount)
			f.burstSet = min(f.burstSet, f.amount-1)
			f.slack = time.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 60e6)).Draw(t, "slack_us")) * time.Microsecond
		}
		return f
	})
}

// grantsOf has a caller ask at random moments for random costs, many of them for all that fits.
func grantsOf(t *rapid.T, terms *Terms, f figures) []grant {
	var grants []grant
	st, now := State{}, noon
	tick := max(1, f.rate().Per/f.rate().Units) // about one unit drains in it
	gap := rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 3*tick), rapid.Int64Range(0, 2*f.rate().Per))
	cost := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, 3), rapid.Int64Range(1, f.burst()))
	for range rapid.IntRange(2, 60).Draw(t, "asks") {
		now += Instant(gap.Draw(t, "gap"))
		st = terms.Advance(st, now, Window{})
		n := cost.Draw(t, "cost")
		if n == 0 {
			n = terms.remaining(st)
		}
		if terms.Fits(st, n) {
			st = terms.Charge(st, n)
			grants = append(grants, grant{now, n})
		}
	}
	return grants
}

// TestGrantedInAnyIntervalIsAtMostBurstAndWhatDrains is the bound that a rate promises, between any two grants.
func TestGrantedInAnyIntervalIsAtMostBurstAndWhatDrains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFigures(rapid.Bool().Draw(t, "strict")).Draw(t, "limit")
		grants := grantsOf(t, rateTerms(t, f), f)
		rate := f.rate()
		for i := range grants {
			var total int64
			for j := i; j < len(grants); j++ {
				total += grants[j].cost
				over := new(big.Int).Mul(big.NewInt(total-f.burst()), big.NewInt(rate.Per))
				drained := new(big.Int).Mul(big.NewInt(rate.Units), big.NewInt(int64(grants[j].at-grants[i].at)))
				if over.Cmp(drained) > 0 {
					t.Fatalf("%d granted in %d µs, burst %d, %v", total, grants[j].at-grants[i].at, f.burst(), rate)
				}
			}
		}
	})
}

// TestCallerWhoNeverLetsTheLimitIdleGetsAllOfIt is the bound from below: whoever takes what remains before the limit
// is untouched again has after any time w exactly the burst and the whole units that drain in w.
func TestCallerWhoNeverLetsTheLimitIdleGetsAllOfIt(t *testing.T) {
	seed := seedOf(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	all := slices.Clone(awkward)
	for range 60 {
		all = append(all, randomFigures(rng))
	}
	for _, f := range all {
		terms, rate := rateTerms(t, f), f.rate()
		st, now := State{}, noon
		var granted, want, drained big.Int
		for range 3000 {
			st = terms.Advance(st, now, Window{})
			n := terms.remaining(st)
			st = terms.Charge(st, n)
			granted.Add(&granted, big.NewInt(n))
			drained.Mul(big.NewInt(rate.Units), big.NewInt(int64(now-noon)))
			want.Add(big.NewInt(f.burst()), drained.Div(&drained, big.NewInt(rate.Per)))
			if granted.Cmp(&want) != 0 {
				t.Fatalf("PERMITD_SEED=%d, %+v: %v granted in %d µs, want %v", seed, f, &granted, now-noon, &want)
			}
			soon := terms.Untouched(st, now).Microseconds() - 1 // the last moment at which the limit is not idle yet
			if soon < 1 || now > noon+1<<55 {
				break
			}
			now += Instant(spread(rng, 1, soon))
		}
	}
}

// arrivalsIn is the most that arrives within any span of that length, ends included.
func arrivalsIn(span time.Duration, arrivals []grant) (most int64) {
	slices.SortFunc(arrivals, func(a, b grant) int { return int(a.at - b.at) })
	var sum int64
	first := 0
	for _, a := range arrivals {
		sum += a.cost
		for a.at-arrivals[first].at > Instant(span.Microseconds()) {
			sum -= arrivals[first].cost
			first++
		}
		most = max(most, sum)
	}
	return most
}

func TestNoSlidingWindowOfAStrictLimitSeesMoreThanItsAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFigures(true).Draw(t, "limit")
		grants := grantsOf(t, rateTerms(t, f), f)
		delay := rapid.OneOf(rapid.Just(int64(0)), rapid.Just(f.slack.Microseconds()), rapid.Int64Range(0, f.slack.Microseconds()))
		for i := range grants {
			grants[i].at += Instant(delay.Draw(t, "delay_us"))
		}
		if most := arrivalsIn(f.per, grants); most > f.amount {
			t.Fatalf("%d arrive within %v, at most %d may", most, f.per, f.amount)
		}
	})
}

// TestStrictWindowIsFilledByTheWorstCaller: calls that are late by the whole slack, followed by calls that are not,
// bring a window to the amount, and not past it.
func TestStrictWindowIsFilledByTheWorstCaller(t *testing.T) {
	for _, f := range []figures{
		{amount: 20, per: time.Minute, strict: true},
		{amount: 20, per: time.Minute, slack: 3 * time.Second, strict: true},
		{amount: 997, per: time.Second, slack: 250 * time.Millisecond, burstSet: 500, strict: true},
		{amount: 2, per: time.Millisecond, slack: time.Second, strict: true},
	} {
		terms, st := rateTerms(t, f), State{}
		var arrivals []grant
		slack := Instant(f.slack.Microseconds())
		for now := noon; now <= noon+Instant((3*f.per+f.slack).Microseconds()); {
			st = terms.Advance(st, now, Window{})
			if n := terms.remaining(st); n > 0 {
				st = terms.Charge(st, n)
				arrivals = append(arrivals, grant{max(now, noon+slack), n})
			}
			now += max(1, Instant(terms.wait(st, 1, now).Microseconds()))
		}
		if most := arrivalsIn(f.per, arrivals); most != f.amount {
			t.Errorf("%+v: at most %d arrive within per, want %d", f, most, f.amount)
		}
	}
}
