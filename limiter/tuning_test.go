package limiter

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

const hour = Instant(3_600_000_000)

// spend charges a counter at now what it is asked for, or as much of it as fits.
func (d *tuned) spend(st State, now Instant, cost int64) (State, int64) {
	st = d.terms.Advance(st, now, Window{})
	cost = min(cost, d.terms.remaining(st))
	return d.terms.Charge(st, cost), cost
}

func TestRaiseIsFeltAtOnce(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, figures{amount: 1000, per: day}.policy())
	st, _ := d.spend(State{}, noon, 900)
	d.setPolicy(noon, figures{amount: 2000, per: day}.policy())
	if st = d.terms.Advance(st, noon, Window{}); d.terms.remaining(st) != 1100 {
		t.Errorf("after 900 of 1000 and a raise to 2000: %d remain, want 1100", d.terms.remaining(st))
	}
}

func TestLoweredLimitDeniesUntilTheUsageHasDrained(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, figures{amount: 1000, per: day}.policy())
	st, _ := d.spend(State{}, noon, 900)
	d.setPolicy(noon, figures{amount: 500, per: day}.policy())
	st = d.terms.Advance(st, noon, Window{})
	if got := d.terms.remaining(st); got != 0 || d.terms.Fits(st, 1) {
		t.Errorf("after 900 of 1000 and a cut to 500: %d remain, want 0", got)
	}
	wait := time.Duration(401) * day / 500 // until the debt is 499
	if got := d.terms.wait(st, 1, noon); got != wait {
		t.Errorf("fits again after %v, want %v", got, wait)
	}
	due := noon + Instant(wait.Microseconds())
	if st = d.terms.Advance(st, due-1, Window{}); d.terms.Fits(st, 1) {
		t.Error("fits a microsecond early")
	}
	if st = d.terms.Advance(st, due, Window{}); !d.terms.Fits(st, 1) {
		t.Error("does not fit when it is due")
	}
}

func TestTimeBeforeARaiseDrainsAtTheOldRate(t *testing.T) {
	nine := noon - 3*hour
	d := &tuned{tb: t}
	d.setPolicy(nine, figures{amount: 1000, per: day}.policy())
	st, _ := d.spend(State{}, nine, 1000)
	d.setPolicy(nine+6*hour, figures{amount: 4000, per: day}.policy())
	for _, at := range []struct {
		hours     Instant
		remaining int64
	}{
		{6, 3250}, // 250 of 1000 drained by 15:00
		{7, 3416}, // and 166 2/3 in the hour after it
		{9, 3750}, // 500 in three hours
		{10, 3916},
		{11, 4000},
	} {
		if got := d.terms.remaining(d.terms.Advance(st, nine+at.hours*hour, Window{})); got != at.remaining {
			t.Errorf("%d h after nine %d remain, want %d", at.hours, got, at.remaining)
		}
	}
}

func TestRaisedQuotaKeepsWhatTheWindowHasSeen(t *testing.T) {
	doc := `{"limits":{"l":{"scope":"key","kind":"quota","amount":%d,"per":"day"}}}`
	d := &tuned{tb: t}
	d.setPolicy(noon, fmt.Sprintf(doc, 1000))
	st := d.terms.Advance(State{}, noon, d.terms.windowAt(noon))
	st, counter := d.terms.Charge(st, 900), d.terms.Counter
	for _, amount := range []int64{2000, 500, 900, 901, 1e12} {
		d.setPolicy(noon+hour, fmt.Sprintf(doc, amount))
		st = d.terms.Advance(st, noon+hour, d.terms.windowAt(noon+hour))
		if got, want := d.terms.remaining(st), max(0, amount-900); got != want || d.terms.Counter != counter {
			t.Errorf("after 900 of 1000 and an edit to %d: %d remain in %s, want %d in %s", amount, got, d.terms.Counter, want, counter)
		}
	}
	if got := d.terms.wait(st, 1e12, noon+hour); got != 11*time.Hour {
		t.Errorf("a full day fits after %v, want 11h", got)
	}
}

func TestHundredEditsInOneMomentAdmitNothing(t *testing.T) {
	for _, pair := range [][2]figures{
		{{amount: 1000, per: day}, {amount: 1000, per: day, burstSet: 1}},                          // burst
		{{amount: 1000, per: day, burstSet: 1000}, {amount: 1000, per: time.Hour, burstSet: 1000}}, // per
		{{amount: 1000, per: day, burstSet: 1000}, {amount: 7, per: day, burstSet: 1000}},          // amount
	} {
		d := &tuned{tb: t}
		d.setPolicy(noon, pair[0].policy())
		st, granted := d.spend(State{}, noon, MaxAmount)
		for i := range 100 {
			d.setPolicy(noon, pair[(i+1)%2].policy())
			var n int64
			if st, n = d.spend(st, noon, MaxAmount); n > 0 {
				t.Fatalf("edit %d from %+v to %+v admits %d more", i, pair[i%2], pair[(i+1)%2], n)
			}
		}
		if granted != 1000 {
			t.Errorf("%d granted, want 1000", granted)
		}
	}
}

// TestEditsAdmitNoMoreThanTheRatesThatHeld has a caller take all that ever fits while figures are toggled. What it gets
// is at most the largest burst and what drained at each rate while that held; and hardly less, for an edit costs less
// than one unit by rounding.
func TestEditsAdmitNoMoreThanTheRatesThatHeld(t *testing.T) {
	seed := seedOf(t)
	for scenario := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, scenario))
		a := figures{amount: spread(rng, 1, 1e6), burstSet: spread(rng, 100, 1e6), per: time.Duration(spread(rng, 1000, 1e9)) * time.Microsecond}
		b := a
		switch rng.IntN(3) {
		case 0:
			b.amount = spread(rng, 1, 1e6)
		case 1:
			b.burstSet = spread(rng, 100, 1e6)
		case 2:
			b.per = time.Duration(spread(rng, 1000, 1e9)) * time.Microsecond
		}
		d, f, now := &tuned{tb: t}, a, noon
		d.setPolicy(now, f.policy())
		st, granted := d.spend(State{}, now, MaxAmount)
		drained := new(big.Rat)
		for toggle := range 100 {
			for range rng.IntN(4) { // moments at which the caller comes, before the bucket is empty
				gap := rng.Int64N(max(1, 40*f.rate().Per/f.rate().Units))
				now += Instant(gap)
				drained.Add(drained, new(big.Rat).Mul(big.NewRat(f.rate().Units, f.rate().Per), big.NewRat(gap, 1)))
				var n int64
				st, n = d.spend(st, now, MaxAmount)
				granted += n
			}
			f = []figures{b, a}[toggle%2]
			d.setPolicy(now, f.policy())
			var n int64
			st, n = d.spend(st, now, MaxAmount)
			granted += n
		}
		most := new(big.Rat).Add(drained, new(big.Rat).SetInt64(max(a.burstSet, b.burstSet)))
		got := new(big.Rat).SetInt64(granted)
		if got.Cmp(most) > 0 {
			t.Fatalf("PERMITD_SEED=%d, scenario %d: %+v and %+v: %d granted, at most %s may", seed, scenario, a, b, granted, most.FloatString(3))
		}
		least := new(big.Rat).Sub(most, new(big.Rat).SetInt64(102))
		if a.burstSet == b.burstSet && got.Cmp(least) < 0 {
			t.Fatalf("PERMITD_SEED=%d, scenario %d: %+v and %+v: only %d granted of %s", seed, scenario, a, b, granted, most.FloatString(3))
		}
	}
}

func TestOverrideComesAndGoesWithoutARefill(t *testing.T) {
	d := &tuned{tb: t}
	base := figures{amount: 100, per: 100 * time.Second}
	d.setPolicy(noon, base.policy())
	st, _ := d.spend(State{}, noon, 100)
	counter := d.terms.Counter
	at := func(seconds Instant, remaining int64) {
		t.Helper()
		st = d.terms.Advance(st, noon+seconds*second, Window{})
		if got := d.terms.remaining(st); got != remaining {
			t.Errorf("%d s after noon %d remain, want %d", seconds, got, remaining)
		}
		if d.terms.Counter != counter {
			t.Errorf("counter %s, want %s", d.terms.Counter, counter)
		}
	}
	at(10, 10)
	d.setEntry(noon+10*second, figures{amount: 1000}.entry()) // 10 a second
	at(10, 910)
	at(11, 920)
	d.setPolicy(noon+11*second, figures{amount: 100, per: 10 * time.Second}.policy()) // 100 a second, overridden
	at(11, 920)
	d.setPolicy(noon+11*second, base.policy())
	d.setEntry(noon+12*second, `{"label":"no override"}`)
	at(12, 30) // 70 in debt of 100
	at(15, 33)
	d.setEntry(noon+15*second, figures{amount: 1000}.entry())
	at(16, 943)
}
