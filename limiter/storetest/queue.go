package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
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
	gone            map[string]bool // limits that the policy does not have just now
	began           map[string]int  // how often the usage of a limit was reset
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
	began         map[string]int     // its limits, and how often they had been reset
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
		if h.closed == 0 && h.expires > r.now && h.counts(r, "held") {
			n++
		}
	}
	return n
}

// counts reports whether what the permit was charged by a limit is still counted there.
func (h *heldPermit) counts(r *reference, limit string) bool {
	began, charged := h.began[limit]
	return charged && began == r.began[limit]
}

func (r *reference) fits(cost int64) bool {
	up, _ := r.debt()
	return (r.gone["rpm"] || up+cost <= r.burst) && (r.gone["rph"] || r.hourly+cost <= r.room) && (r.gone["held"] || r.slots()+1 <= 10)
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
		if h.counts(r, "rpm") {
			n := min(-extra, (r.left[h.charge]+parts-1)/parts)
			r.left[h.charge] = max(0, r.left[h.charge]-n*parts)
			set("rpm", -n, 0)
		}
		if h.counts(r, "rph") && h.hour == r.hour {
			n := min(-extra, r.hourly)
			r.hourly -= n
			set("rph", -n, 0)
		}
		r.refunds++
	} else if extra > 0 {
		if _, charged := h.began["rpm"]; charged && !r.gone["rpm"] {
			_, whole := r.debt()
			n := min(extra, max(0, r.burst+r.amount-whole))
			r.left = append(r.left, n*parts)
			set("rpm", n, extra-n)
		}
		if _, charged := h.began["rph"]; charged && !r.gone["rph"] {
			n := min(extra, max(0, 2*r.room-r.hourly))
			r.hourly += n
			set("rph", n, extra-n)
		}
	}
	h.closed, h.adjusted = status, adjusted
	return adjusted, uncharged
}

var modelled = []string{"held", "rph", "rpm"}

func (r *reference) policy() string {
	var limits []string
	for name, text := range map[string]string{
		"rpm":  fmt.Sprintf(`"rpm": {"scope":"key","kind":"rate","amount":%d,"per":"1m","burst":%d}`, r.amount, r.burst),
		"rph":  fmt.Sprintf(`"rph": {"scope":"key","kind":"quota","amount":%d,"per":"hour"}`, r.room),
		"held": `"held": {"scope":"key","kind":"concurrency","unit":"slots","default_cost":1,"amount":10}`,
	} {
		if !r.gone[name] {
			limits = append(limits, text)
		}
	}
	return strings.Join(limits, ",")
}

// testHoldsAgainstModel acquires, settles, cancels, extends, lets expire, edits, takes limits out and brings them back,
// resets and moves the clock, through turns of the hour, in random order, and compares every figure with the reference.
// There are never more refunds than a counter keeps apart. PERMITD_SCENARIOS says how many histories to go through.
func testHoldsAgainstModel(t *testing.T, b Backend) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	granted, denied, refunds := 0, 0, 0
	scenarios, _ := strconv.ParseUint(cmp.Or(os.Getenv("PERMITD_SCENARIOS"), "20"), 10, 64)
	for scenario := range scenarios {
		rng := rand.New(rand.NewPCG(seed, scenario))
		r := &reference{amount: 60, burst: 200, room: 500, gone: map[string]bool{}, began: map[string]int{}}
		n := newBench(t, b, r.policy())
		for range 120 {
			n.step(rng, r)
			for limit, want := range r.figures() {
				if r.gone[limit] {
					continue
				}
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
	switch rng.IntN(9) {
	case 0:
		d := time.Duration(rng.Int64N(20_000_000)) * time.Microsecond
		if rng.IntN(6) == 0 {
			d *= 60
		}
		r.pass(d)
		n.at(r.now)
	case 1:
		if !r.gone["rpm"] { // while it is out of the policy, it drains as it did last
			r.amount, r.burst = 30+rng.Int64N(60), 150+rng.Int64N(100)
		}
		r.room = 400 + rng.Int64N(200)
		n.put(r.policy())
	case 2, 3, 4:
		n.acquireLike(rng, r)
	case 5:
		name := modelled[rng.IntN(len(modelled))]
		if rng.IntN(3) > 0 {
			r.gone[name] = !r.gone[name]
			n.put(r.policy())
		} else if !r.gone[name] {
			q := limiter.ResetQuery{KeyID: key1, Limits: []string{name}}
			if rng.IntN(2) == 0 {
				q = limiter.ResetQuery{All: true, Limits: []string{name}}
			}
			n.reset(q, name)
			r.reset(name)
		}
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
	h := &heldPermit{permit: d.PermitID, cost: cost, hour: r.hour, born: r.now, expires: r.now + ttl, began: map[string]int{}}
	for _, limit := range modelled {
		if !r.gone[limit] {
			h.began[limit] = r.began[limit]
		}
	}
	if !r.gone["rpm"] {
		h.charge, r.left = len(r.left), append(r.left, cost*parts)
	}
	if !r.gone["rph"] {
		r.hourly += cost
	}
	r.holds = append(r.holds, h)
}

func (r *reference) reset(limit string) {
	r.began[limit]++
	switch limit {
	case "rpm":
		clear(r.left)
	case "rph":
		r.hourly = 0
	}
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
