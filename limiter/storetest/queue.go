package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// reference is a rate, a quota and slots of one key with nothing clever in them: a queue of charges that drain first in,
// first out, in parts of a unit; the charges of a window; and who holds slots until when.
type reference struct {
	now             time.Duration
	amount          int64 // units a minute, and units an hour; edited as time goes on
	burst, room     int64
	left            []int64 // of each charge of the rate, in parts
	hour            time.Duration
	hourly          int64
	holds           []*heldPermit
	refunds         int
	granted, denied int
}

// heldPermit is what the reference knows of a permit.
type heldPermit struct {
	permit        string
	cost          int64
	charge        int // in left
	hour, expires time.Duration
	born          time.Duration
	closed        limiter.HoldStatus // 0: open
	adjusted      by
}

const parts = int64(time.Minute / time.Microsecond) // of a unit

func (r *reference) pass(d time.Duration) {
	r.now += d
	drained := d.Microseconds() * r.amount
	for i := range r.left {
		n := min(r.left[i], drained)
		r.left[i], drained = r.left[i]-n, drained-n
	}
	if hour := r.now.Truncate(time.Hour); hour != r.hour {
		r.hour, r.hourly = hour, 0
	}
}

// debt is what the rate holds, in units rounded up and in whole ones.
func (r *reference) debt() (up, whole int64) {
	var sum int64
	for _, n := range r.left {
		sum += n
	}
	return (sum + parts - 1) / parts, sum / parts
}

func (r *reference) slots() (n int64) {
	for _, h := range r.holds {
		if h.closed == 0 && h.expires > r.now {
			n++
		}
	}
	return n
}

func (r *reference) fits(cost int64) bool {
	up, _ := r.debt()
	return up+cost <= r.burst && r.hourly+cost <= r.room && r.slots()+1 <= 10
}

// close does what settling to a cost does, and returns what is adjusted and not charged.
func (r *reference) close(h *heldPermit, cost int64, status limiter.HoldStatus) (adjusted, uncharged by) {
	adjusted, uncharged = by{}, by{}
	set := func(limit string, charged, short int64) {
		if charged != 0 {
			adjusted[limit] = charged
		}
		if short != 0 {
			uncharged[limit] = short
		}
	}
	if extra := cost - h.cost; extra < 0 {
		n := min(-extra, (r.left[h.charge]+parts-1)/parts)
		r.left[h.charge] = max(0, r.left[h.charge]-n*parts)
		set("rpm", -n, 0)
		if h.hour == r.hour {
			n := min(-extra, r.hourly)
			r.hourly -= n
			set("rph", -n, 0)
		}
		r.refunds++
	} else if extra > 0 {
		_, whole := r.debt()
		n := min(extra, max(0, r.burst+r.amount-whole))
		r.left = append(r.left, n*parts)
		set("rpm", n, extra-n)
		n = min(extra, max(0, 2*r.room-r.hourly))
		r.hourly += n
		set("rph", n, extra-n)
	}
	h.closed, h.adjusted = status, adjusted
	return adjusted, uncharged
}

func (r *reference) policy() string {
	return fmt.Sprintf(`
		"rpm":  {"scope":"key","kind":"rate","amount":%d,"per":"1m","burst":%d},
		"rph":  {"scope":"key","kind":"quota","amount":%d,"per":"hour"},
		"held": {"scope":"key","kind":"concurrency","unit":"slots","default_cost":1,"amount":10}`, r.amount, r.burst, r.room)
}

// testHoldsAgainstModel acquires, settles, cancels, extends, lets expire, edits and moves the clock, through turns of the
// hour, in random order, and compares every figure with the reference. There are never more refunds than a counter keeps
// apart.
func testHoldsAgainstModel(t *testing.T, b Backend) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	granted, denied, refunds := 0, 0, 0
	for scenario := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, scenario))
		r := &reference{amount: 60, burst: 200, room: 500}
		n := newBench(t, b, r.policy())
		for range 120 {
			n.step(rng, r)
			for limit, want := range r.figures() {
				if got := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, limit).Used; got != want {
					t.Fatalf("seed %d, scenario %d, at %v: %s holds %d, want %d", seed, scenario, r.now, limit, got, want)
				}
			}
		}
		granted, denied, refunds = granted+r.granted, denied+r.denied, refunds+r.refunds
	}
	if granted < 100 || denied < 10 || refunds < 20 {
		t.Errorf("only %d granted, %d denied, %d refunds: the schedule tests little", granted, denied, refunds)
	}
}

func (r *reference) figures() by {
	up, _ := r.debt()
	return by{"rpm": up, "rph": r.hourly, "held": r.slots()}
}

func (n *bench) step(rng *rand.Rand, r *reference) {
	n.Helper()
	switch rng.IntN(8) {
	case 0:
		d := time.Duration(rng.Int64N(20_000_000)) * time.Microsecond
		if rng.IntN(6) == 0 {
			d *= 60
		}
		r.pass(d)
		n.at(r.now)
	case 1:
		r.amount, r.burst, r.room = 30+rng.Int64N(60), 150+rng.Int64N(100), 400+rng.Int64N(200)
		n.put(r.policy())
	case 2, 3, 4:
		n.acquireLike(rng, r)
	default:
		if len(r.holds) > 0 && r.refunds < 30 {
			n.closeLike(rng, r, r.holds[rng.IntN(len(r.holds))])
		}
	}
}

func (n *bench) acquireLike(rng *rand.Rand, r *reference) {
	n.Helper()
	cost, ttl := 1+rng.Int64N(40), time.Duration(1+rng.IntN(300))*time.Second
	d := n.askFor(limiter.Ask{Key: "sk-1", Cost: requests(cost), Hold: true, TTL: ttl})
	if d.Allowed != r.fits(cost) {
		n.Fatalf("at %v: a cost of %d allowed %v; the reference holds %v", r.now, cost, d.Allowed, r.figures())
	}
	if !d.Allowed {
		r.denied++
		return
	}
	r.granted++
	r.left = append(r.left, cost*parts)
	r.hourly += cost
	r.holds = append(r.holds, &heldPermit{permit: d.PermitID, cost: cost, charge: len(r.left) - 1, hour: r.hour, born: r.now, expires: r.now + ttl})
}

func (n *bench) closeLike(rng *rand.Rand, r *reference, h *heldPermit) {
	n.Helper()
	ctx, status, cost := context.Background(), limiter.HoldSettled, rng.Int64N(2*h.cost)
	switch rng.IntN(3) {
	case 0:
		ttl := time.Duration(1+rng.IntN(300)) * time.Second
		_, err := n.ExtendHold(ctx, h.permit, ttl)
		if alive := h.closed == 0 && h.expires > r.now; alive != (err == nil) {
			n.Fatalf("at %v: extended %+v: %v", r.now, h, err)
		} else if alive {
			h.expires = max(h.expires, min(r.now+ttl, h.born+24*time.Hour))
		}
		return
	case 1:
		status, cost = limiter.HoldCancelled, 0
	}
	gone := r.now >= h.expires+2*time.Hour
	s, err := n.close(ctx, h.permit, status, cost)
	switch {
	case gone:
		if !errors.Is(err, limiter.ErrUnknownPermit) {
			n.Fatalf("at %v: closed %+v, which is no longer kept: %v", r.now, h, err)
		}
	case h.closed != 0 && h.closed != status:
		if !errors.Is(err, limiter.ErrPermitClosed) {
			n.Fatalf("at %v: %s what was %s: %v", r.now, status, h.closed, err)
		}
	case h.closed != 0:
		n.expect(s, err, status, h.adjusted, s.Uncharged)
	default:
		late := r.now >= h.expires
		adjusted, uncharged := r.close(h, cost, status)
		if n.expect(s, err, status, adjusted, uncharged); s.Late != late {
			n.Fatalf("at %v: late %v: %+v", r.now, s.Late, h)
		}
	}
}

func (n *bench) close(ctx context.Context, permit string, status limiter.HoldStatus, cost int64) (*limiter.Settlement, error) {
	if status == limiter.HoldCancelled {
		return n.Cancel(ctx, permit)
	}
	return n.Settle(ctx, permit, requests(cost))
}
