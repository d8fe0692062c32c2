package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// queue is a counter as a queue of charges that drain first in, first out, in parts of 1/per of a unit.
type queue struct {
	rate Rate
	left []int64 // of each charge, oldest first
}

func (q *queue) drain(elapsed int64) {
	parts := elapsed * q.rate.Units
	for i := range q.left {
		n := min(q.left[i], parts)
		q.left[i] -= n
		parts -= n
	}
}

// refundable is how many whole units of a charge have not drained, the last perhaps in part.
func (q *queue) refundable(charge int) int64 { return ceilDiv(q.left[charge], q.rate.Per) }

func (q *queue) debt() (parts int64) {
	for _, n := range q.left {
		parts += n
	}
	return parts
}

// ledger drives a counter and its queue alike.
type ledger struct {
	*rapid.T
	terms    *Terms
	state    State
	queue    queue
	now      Instant
	receipts []Receipt
	refunded map[int]bool
	exact    bool // there are no more refunds than are kept
}

func newLedger(t *rapid.T) *ledger {
	rate := Rate{rapid.Int64Range(1, 20).Draw(t, "units"), rapid.Int64Range(1, 30).Draw(t, "per")}
	l := &Limit{Kind: KindRate, Amount: rate.Units, Burst: 1 << 40}
	return &ledger{T: t, queue: queue{rate: rate}, now: noon, refunded: map[int]bool{},
		terms: &Terms{Limit: l, Schedule: Schedule{Changes: []RateChange{{noon, rate}}}}}
}

func (l *ledger) charge() {
	n := rapid.Int64Range(1, 40).Draw(l.T, "cost")
	l.state = l.terms.Charge(l.state, n)
	l.receipts = append(l.receipts, Receipt{l.state.Total, l.now, n})
	l.queue.left = append(l.queue.left, n*l.queue.rate.Per)
}

func (l *ledger) pass() {
	d := rapid.Int64Range(0, 60).Draw(l.T, "elapsed")
	l.now += Instant(d)
	l.queue.drain(d)
	l.state = l.terms.Advance(l.state, l.now, Window{})
}

// refund refunds a charge that was not refunded before, and returns what the counter and the queue gave back.
func (l *ledger) refund() (got, want int64) {
	if len(l.receipts) == 0 {
		return 0, 0
	}
	i := rapid.IntRange(max(0, len(l.receipts)-60), len(l.receipts)-1).Draw(l.T, "charge")
	if l.refunded[i] {
		return 0, 0
	}
	l.refunded[i] = true
	n, before := rapid.Int64Range(0, 50).Draw(l.T, "refund"), l.debt()
	l.state, got = l.terms.Refund(l.state, l.receipts[i], n, l.now)
	if got < 0 || got > n {
		l.Fatalf("%d refunded of %d", got, n)
	}
	want = min(n, l.queue.refundable(i))
	given, most := before-l.debt(), min(got*l.queue.rate.Per, l.queue.left[i])
	if given > most || l.exact && given != most {
		l.Fatalf("%d parts given back for %d units, of %d", given, got, l.queue.left[i])
	}
	l.queue.left[i] -= given
	return got, want
}

// debt is what the counter holds, in parts.
func (l *ledger) debt() int64 { return l.state.Used*l.queue.rate.Per + l.state.Part }

func (l *ledger) agree() {
	if got, want := l.debt(), l.queue.debt(); got != want {
		l.Fatalf("%d parts of debt, want %d", got, want)
	}
}

func TestRefundGivesBackWhatHasNotDrained(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(t)
		l.exact = true
		for range rapid.IntRange(1, maxRefunds).Draw(t, "steps") {
			for range rapid.IntRange(0, 4).Draw(t, "charges") {
				l.charge()
			}
			l.pass()
			if got, want := l.refund(); got != want {
				t.Fatalf("%d units refunded, want %d: %+v", got, want, l.state)
			}
			l.agree()
		}
	})
}

// TestMoreRefundsThanAreKept: then some give back less, be it a part of a unit, never more.
func TestMoreRefundsThanAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(t)
		for range 5 * maxRefunds {
			l.charge()
		}
		for range 5 * maxRefunds {
			if rapid.IntRange(0, 3).Draw(t, "step") == 0 {
				l.charge()
			}
			if rapid.IntRange(0, 9).Draw(t, "step") == 0 {
				l.pass()
			}
			if got, want := l.refund(); got > want {
				t.Fatalf("%d units refunded, at most %d may be: %+v", got, want, l.state)
			}
			l.agree()
			if n := len(l.state.Refunds.all()); n > maxRefunds {
				t.Fatalf("%d refunds kept", n)
			}
		}
	})
}

// TestHoldsCancelledAfterTheirChargeDrained: 2,000,000 a minute, 960 holds of 8,000 over a minute, all cancelled at the
// end of the next.
func TestHoldsCancelledAfterTheirChargeDrained(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, figures{amount: 2_000_000, burstSet: 8_000_000, per: time.Minute}.policy())
	st, receipts := State{}, []Receipt{}
	for i := range Instant(960) {
		st = d.terms.Charge(d.terms.Advance(st, noon+i*second/16, Window{}), 8000)
		receipts = append(receipts, Receipt{st.Total, st.Mark, 8000})
	}
	now := noon + 240*second
	st = d.terms.Advance(st, now, Window{})
	for _, r := range receipts {
		var n int64
		if st, n = d.terms.Refund(st, r, 8000, now); n != 0 {
			t.Fatalf("%d units refunded of a charge that has drained", n)
		}
	}
}

func TestNothingIsRefundedOfAnotherCounter(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, perSecond(1).policy())
	st := d.terms.Charge(d.terms.Advance(State{}, noon, Window{}), 100)
	for name, r := range map[string]Receipt{
		"one with a longer history": {Total: 101, Mark: noon, Units: 10},
		"one that was forgotten":    {Total: 100, Mark: noon - 1, Units: 10},
	} {
		if after, n := d.terms.Refund(st, r, 10, noon); n != 0 || after != st {
			t.Errorf("%s: %d units refunded", name, n)
		}
	}
	if _, n := d.terms.Refund(st, Receipt{100, noon, 10}, 20, noon); n != 10 {
		t.Errorf("%d units refunded of a charge of 10", n)
	}
}

func TestQuotaIsRefundedUntilItsWindowEnds(t *testing.T) {
	terms := &Terms{Limit: &Limit{Kind: KindQuota, Amount: 100, Burst: 100}}
	st := terms.Charge(terms.Advance(State{}, noon, Window{Start: noon - second, End: noon + second}), 30)
	r := Receipt{st.Total, st.Mark, 30}
	if after, n := terms.Refund(st, r, 20, noon); n != 20 || after.Used != 10 {
		t.Errorf("%d units refunded, %d used", n, after.Used)
	}
	st = terms.Charge(terms.Advance(st, noon+second, Window{Start: noon + second, End: noon + 3*second}), 30)
	if after, n := terms.Refund(st, r, 20, noon+second); n != 0 || after.Used != 30 {
		t.Errorf("in the next window: %d units refunded, %d used", n, after.Used)
	}
}
