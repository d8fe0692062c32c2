package storetest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// reference is one counter of a rate as a queue of charges that drain first in, first out, in parts of 1/per of a unit;
// and the number charged and refunded.
type reference struct {
	units, per    int64 // what drains in how many microseconds
	burst, amount int64
	left          []int64
}

func (r *reference) pass(elapsed limiter.Instant) {
	parts := int64(elapsed) * r.units
	for i := range r.left {
		n := min(r.left[i], parts)
		r.left[i], parts = r.left[i]-n, parts-n
	}
}

// whole is the debt in units, rounded up.
func (r *reference) whole() int64 {
	var parts int64
	for _, n := range r.left {
		parts += n
	}
	return (parts + r.per - 1) / r.per
}

func (r *reference) charge(units int64) { r.left = append(r.left, units*r.per) }

// refund takes back up to so many units of one charge.
func (r *reference) refund(charge int, units int64) int64 {
	units = min(units, (r.left[charge]+r.per-1)/r.per)
	r.left[charge] = max(0, r.left[charge]-units*r.per)
	return units
}

// testHoldsAgainstQueue settles, cancels and lets be holds in random order as time passes, and compares every figure with
// the reference. There are never more refunds than a counter keeps apart.
func testHoldsAgainstQueue(t *testing.T, b Backend) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 12 {
		r := &reference{units: 60, per: 60_000_000, burst: 200, amount: 60}
		n := newBench(t, b, `"rpd": {"scope":"key","kind":"rate","amount":60,"per":"1m","burst":200}`)
		type open struct {
			permit string
			charge int
			cost   int64
		}
		var holds []open
		refunds, now := 0, time.Duration(0)
		for range 60 {
			if rng.IntN(3) == 0 {
				d := time.Duration(rng.Int64N(20_000_000)) * time.Microsecond
				now += d
				n.at(now)
				r.pass(limiter.Instant(d.Microseconds()))
			}
			if cost := 1 + rng.Int64N(40); rng.IntN(2) == 0 {
				d := n.askFor(limiter.Ask{Key: "sk-1", Cost: requests(cost), Hold: true})
				if want := r.whole()+cost <= r.burst; d.Allowed != want {
					t.Fatalf("seed %d: a cost of %d allowed %v with %d used", seed, cost, d.Allowed, r.whole())
				}
				if d.Allowed {
					r.charge(cost)
					holds = append(holds, open{d.PermitID, len(r.left) - 1, cost})
				}
			} else if len(holds) > 0 && refunds < 30 {
				i := rng.IntN(len(holds))
				h := holds[i]
				holds = append(holds[:i], holds[i+1:]...)
				actual := rng.Int64N(2 * h.cost)
				s, err := n.Settle(context.Background(), h.permit, requests(actual))
				if err != nil {
					t.Fatal(err)
				}
				want, short := actual-h.cost, int64(0)
				if want < 0 {
					refunds++
					want = -r.refund(h.charge, -want)
				} else if want > 0 {
					room := max(0, r.burst+r.amount-r.floor())
					want, short = min(want, room), max(0, want-room)
					r.charge(want)
				}
				if s.Adjusted["rpd"] != want || s.Uncharged["rpd"] != short {
					t.Fatalf("seed %d: settled %d to %d: %+v, want %d and %d", seed, h.cost, actual, s, want, short)
				}
			}
			if got := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, "rpd").Used; got != r.whole() {
				t.Fatalf("seed %d: %d used, want %d", seed, got, r.whole())
			}
		}
	}
}

// floor is the debt in whole units.
func (r *reference) floor() int64 {
	var parts int64
	for _, n := range r.left {
		parts += n
	}
	return parts / r.per
}
