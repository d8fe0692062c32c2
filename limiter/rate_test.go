package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// noon is where timetables start.
var noon = InstantOf(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

func rateTerms(tb rapid.TB, f figures) *Terms {
	d := &tuned{tb: tb}
	d.setPolicy(noon, f.policy())
	return d.terms
}

// stop is one line of a timetable: at a time after noon, this cost is asked for, with this outcome.
type stop struct {
	at        time.Duration
	cost      int64
	granted   bool
	remaining int64         // after it
	wait      time.Duration // until the cost fits, of one that did not
	untouched time.Duration // after it
}

const µs = time.Microsecond

func TestRateTimetable(t *testing.T) {
	ms, s := time.Millisecond, time.Second
	for _, line := range []struct {
		name  string
		limit figures
		stops []stop
	}{
		{"burst of 1 admits one each interval", figures{amount: 10, per: s, burstSet: 1}, []stop{
			{0, 1, true, 0, 0, 100 * ms},
			{0, 1, false, 0, 100 * ms, 100 * ms},
			{100*ms - µs, 1, false, 0, µs, µs},
			{100 * ms, 1, true, 0, 0, 100 * ms},
			{350 * ms, 1, true, 0, 0, 100 * ms}, // idle time beyond the burst is lost
			{351 * ms, 1, false, 0, 99 * ms, 99 * ms},
		}},
		{"a cost of 0 always fits and charges nothing", figures{amount: 2, per: s}, []stop{
			{0, 0, true, 2, 0, 0},
			{0, 2, true, 0, 0, s},
			{0, 0, true, 0, 0, s},
			{s / 2, 0, true, 1, 0, s / 2},
		}},
		{"a cost above the burst never fits and waits for an untouched limit", figures{amount: 4, per: s}, []stop{
			{0, 5, false, 4, 0, 0},
			{0, 2, true, 2, 0, s / 2},
			{0, 5, false, 2, s / 2, s / 2},
			{time.Hour, 5, false, 4, 0, 0},
			{time.Hour, 4, true, 0, 0, s},
		}},
		{"a clock that steps back drains nothing and is measured from where it stands", figures{amount: 4, per: s}, []stop{
			{0, 4, true, 0, 0, s},
			{s / 4, 1, true, 0, 0, s},
			{-time.Hour, 1, false, 0, s / 4, s},
			{-time.Hour + s/4 - µs, 1, false, 0, µs, s - s/4 + µs},
			{-time.Hour + s/4, 1, true, 0, 0, s},
			{s / 4, 4, true, 0, 0, s},
		}},
		{"one third of a unit is not lost", figures{amount: 3, per: s, burstSet: 3}, []stop{
			{0, 3, true, 0, 0, s},
			{333_333 * µs, 1, false, 0, µs, 666_667 * µs}, // 0.999999 of a unit drained
			{333_334 * µs, 1, true, 0, 0, s},
			{666_666 * µs, 1, false, 0, µs, 666_668 * µs},
			{666_667 * µs, 1, true, 0, 0, 0},
			{s, 1, true, 0, 0, s}, // three in the first second, none late
		}},
		{"seven a minute are due at the microsecond rounded up", figures{amount: 7, per: time.Minute, burstSet: 1}, []stop{
			{0, 1, true, 0, 0, 8_571_429 * µs},
			{8_571_428 * µs, 1, false, 0, µs, µs},
			{8_571_429 * µs, 1, true, 0, 0, 8_571_429 * µs},
		}},
		{"a strict window sustains amount - burst", figures{amount: 20, per: time.Minute, strict: true}, []stop{
			{0, 2, true, 0, 0, 6_666_667 * µs},
			{0, 1, false, 0, 3_333_334 * µs, 6_666_667 * µs},
			{3_333_333 * µs, 1, false, 0, µs, 3_333_334 * µs},
			{3_333_334 * µs, 1, true, 0, 0, 6_666_666 * µs},
		}},
		{"slack makes a strict window slower", figures{amount: 11, per: 8 * s, slack: 2 * s, burstSet: 1, strict: true}, []stop{
			{0, 1, true, 0, 0, s},
			{s - µs, 1, false, 0, µs, µs},
			{s, 1, true, 0, 0, s},
		}},
		{"the largest figures", figures{amount: MaxAmount, per: 31 * day}, []stop{
			{0, MaxAmount, true, 0, 0, 31 * day},
			{0, 1, false, 0, 3 * µs, 31 * day}, // 2.6784 µs each
			{2 * µs, 1, false, 0, µs, 31*day - 2*µs},
			{3 * µs, 1, true, 0, 0, 31 * day},
			{31 * day, MaxAmount - 1, true, 0, 0, 31 * day},
		}},
		{"a wait longer than a century is said to be forever", figures{amount: 1, per: 31 * day, burstSet: MaxAmount}, []stop{
			{0, MaxAmount, true, 0, 0, Forever},
			{0, 1, false, 0, 31 * day, Forever},
			{0, MaxAmount / 2, false, 0, Forever, Forever},
			{31*day - µs, 1, false, 0, µs, Forever},
			{31 * day, 1, true, 0, 0, Forever},
		}},
	} {
		t.Run(line.name, func(t *testing.T) {
			terms, st := rateTerms(t, line.limit), State{}
			for i, want := range line.stops {
				now := noon + Instant(want.at.Microseconds())
				st = terms.Advance(st, now, Window{})
				got := stop{at: want.at, cost: want.cost, granted: terms.Fits(st, want.cost)}
				got.wait = terms.wait(st, want.cost, now)
				if got.granted {
					st = terms.Charge(st, want.cost)
				}
				got.remaining, got.untouched = terms.remaining(st), terms.Untouched(st, now)
				if want.untouched == 0 && got.granted && want.cost > 0 { // not looked at
					got.untouched = 0
				}
				if got != want {
					t.Errorf("stop %d:\n got %+v\nwant %+v", i, got, want)
				}
			}
		})
	}
}

func TestShadowRateGoesNoFurtherIntoDebtThanOneAmountPastItsBurst(t *testing.T) {
	terms, st := rateTerms(t, figures{amount: 10, per: time.Second, burstSet: 4}), State{}
	for range 100 {
		st = terms.Charge(terms.Advance(st, noon, Window{}), 3)
	}
	if st.Used != 14 {
		t.Errorf("%d units in debt, want the burst of 4 and the amount of 10", st.Used)
	}
	// once enforced it admits again when 11 of the 14 units have drained
	if wait := terms.wait(st, 1, noon); wait != 1100*time.Millisecond {
		t.Errorf("admits again after %v, want 1.1s", wait)
	}
}

func TestLoweredBurstKeepsTheDebtAboveIt(t *testing.T) {
	terms := rateTerms(t, figures{amount: 10, per: time.Second, burstSet: 4})
	st := State{Used: 900, Mark: noon, Rate: Rate{10, 1e6}}
	if st = terms.Advance(st, noon, Window{}); terms.remaining(st) != 0 || !terms.Fits(st, 0) || terms.Fits(st, 1) {
		t.Errorf("at 900 of 4: %d remain", terms.remaining(st))
	}
	if st = terms.Charge(st, 5); st.Used != 900 {
		t.Errorf("a shadow charge changed a debt beyond bounds from 900 to %d", st.Used)
	}
}

func TestQuotaTimetable(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"limits":{"q":{"scope":"key","kind":"quota","amount":10,"per":"hour"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	terms, st := &Terms{Limit: p.Limits[0]}, State{}
	hour := time.Hour
	for i, want := range []stop{
		{0, 4, true, 6, 0, hour},
		{hour - µs, 7, false, 6, µs, µs},
		{hour - µs, 6, true, 0, 0, µs},
		{hour - µs, 11, false, 0, µs, µs},
		{hour, 1, true, 9, 0, hour},
		{hour - µs, 10, false, 9, hour + µs, hour + µs}, // the clock stepped back: the newer window goes on
		{0, 9, true, 0, 0, 2 * hour},
		{0, 1, false, 0, 2 * hour, 2 * hour},
		{-time.Minute, 4, true, 6, 0, time.Minute}, // that window is not the next one any more: it is not believed
		{0, 1, true, 9, 0, hour},
		{5 * hour, 0, true, 10, 0, 0},
	} {
		now := noon + Instant(want.at.Microseconds())
		st = terms.Advance(st, now, terms.windowAt(now))
		got := stop{at: want.at, cost: want.cost, granted: terms.Fits(st, want.cost), wait: terms.wait(st, want.cost, now)}
		if got.granted {
			st = terms.Charge(st, want.cost)
		}
		got.remaining, got.untouched = terms.remaining(st), terms.Untouched(st, now)
		if got != want {
			t.Errorf("stop %d:\n got %+v\nwant %+v", i, got, want)
		}
	}
}

func TestStatusOfALineInTheMiddleOfAUnit(t *testing.T) {
	terms := rateTerms(t, figures{amount: 4, per: time.Second})
	st := terms.Charge(terms.Advance(State{}, noon, Window{}), 3)
	now := noon + 100_000 // 0.4 of a unit drained: 2.6 in debt
	line := Line{Terms: terms, Cost: 2, State: terms.Advance(st, now, Window{})}
	got := line.status(now)
	if got.Used != 3 || got.Remaining != 1 {
		t.Errorf("used %d, remaining %d; want 3 and 1", got.Used, got.Remaining)
	}
	if got.NextUnit != 150*time.Millisecond || got.RetryAfter != 150*time.Millisecond || got.Reset != 650*time.Millisecond {
		t.Errorf("next unit %v, retry after %v, reset %v; want 150ms, 150ms, 650ms", got.NextUnit, got.RetryAfter, got.Reset)
	}
	if !got.Refused || got.WouldDeny || got.Window != time.Second {
		t.Errorf("refused %v, would deny %v, window %v; want true, false, 1s", got.Refused, got.WouldDeny, got.Window)
	}
}
