package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func slots(amount string) string {
	return `"slots": {"scope":"key","kind":"concurrency","amount":` + amount + `}`
}

// inUse expects so many slots of the key "sk-1" to be held.
func (n *bench) inUse(want int64) {
	n.Helper()
	if got := n.usage(limiter.UsageQuery{KeyID: key1}, "slots").Used; got != want {
		n.Fatalf("at %s %d slots are held, want %d", n.now.Time(), got, want)
	}
}

func testSlots(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, slots("3")+`, "rpm": {"scope":"key","kind":"rate","amount":5,"per":"10d"}`)
	first := n.hold(time.Minute, nil)
	d := n.askFor(limiter.Ask{Key: "sk-1", Cost: requests(2)}) // implies a hold
	if !d.Allowed || d.PermitID == "" || !d.Expires.Equal(n.now.Time().Add(2*time.Hour)) || d.Limits[1].Remaining != 0 || d.Limits[1].Reset != 2*time.Hour {
		t.Fatalf("%+v", d)
	}
	n.deny(1, time.Second)
	if s := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, "slots"); s.Used != 3 || s.Remaining != 0 {
		t.Errorf("%+v", s)
	}
	n.settle(d.PermitID, requests(1), by{"rpm": -1}, nil)
	n.inUse(1)
	n.settle(d.PermitID, nil, by{"rpm": -1}, nil)
	n.inUse(1)
	n.cancel(n.hold(time.Minute, nil), by{"rpm": -1})
	n.inUse(1)
	var cost *limiter.CostError
	if _, err := n.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-1", Cost: requests(4)}); !errors.As(err, &cost) || cost.Limit != "slots" {
		t.Errorf("4 of 3 slots: %v", err)
	}
	n.at(30 * time.Second)
	if _, err := n.ExtendHold(ctx, first, time.Minute); err != nil {
		t.Fatal(err)
	}
	n.at(time.Minute)
	n.inUse(1)
	n.at(90*time.Second - time.Microsecond)
	n.inUse(1)
	n.at(90 * time.Second)
	n.inUse(0)
	other := n.hold(time.Minute, nil)
	if s := n.settle(first, nil, nil, nil); !s.Late {
		t.Error("not late")
	}
	n.inUse(1)
	n.cancel(other, by{"rpm": -1})
	n.inUse(0)
}

// testSlotsAllOrNothing: whoever is denied by another limit takes no slot, and whoever finds no slot is charged nowhere.
func testSlotsAllOrNothing(t *testing.T, b Backend) {
	n := newBench(t, b, slots("2")+`, "rpd": {"scope":"key","kind":"quota","amount":3,"per":"month"}`)
	n.hold(time.Minute, nil)
	p := n.hold(time.Minute, nil)
	n.deny(1, time.Second)
	n.remaining("rpd", 1)
	n.settle(p, nil, nil, nil)
	n.hold(time.Minute, requests(0)) // costs nothing, and takes no slot
	n.inUse(1)
	q := n.hold(time.Minute, nil)
	n.settle(q, nil, nil, nil) // a slot is free, and the month used up
	if d := n.ask(1); d.Allowed || !slices.Equal(d.Violated(), []string{"rpd"}) {
		t.Errorf("%+v", d)
	}
	n.inUse(1)
	if d := n.askFor(limiter.Ask{Key: "sk-1", Cost: requests(0), Hold: true}); d.Allowed || !slices.Equal(d.Violated(), []string{"rpd"}) {
		t.Errorf("a hold of unknown cost, though not one more would fit: %+v", d)
	}
	n.inUse(1)
}

func testSlotsThroughEdits(t *testing.T, b Backend) {
	n := newBench(t, b, slots("2"))
	p, q := n.hold(time.Minute, nil), n.hold(time.Hour, nil)
	n.put(slots("1"))
	n.inUse(2)
	n.deny(1, time.Second)
	n.settle(p, nil, nil, nil)
	n.deny(1, time.Second)
	n.put(slots("5"))
	n.inUse(1)
	n.remaining("slots", 4)
	n.put(`"slots": {"scope":"key","kind":"concurrency","amount":1,"mode":"shadow"}`)
	if d := n.ask(1); !d.Allowed || !d.Limits[0].WouldDeny {
		t.Errorf("%+v", d)
	}
	n.inUse(2)
	n.settle(q, nil, nil, nil)
	n.inUse(1)
}

// testSlotsAgainstModel acquires, settles, cancels, extends and lets expire in random order, and compares with who holds
// how many until when.
func testSlotsAgainstModel(t *testing.T, b Backend) {
	type held struct {
		permit  string
		slots   int64
		expires time.Duration
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	n := newBench(t, b, slots("20"))
	var all []held
	now := time.Duration(0)
	inUse := func() (sum int64) {
		for _, h := range all {
			if h.expires > now {
				sum += h.slots
			}
		}
		return sum
	}
	for range 400 {
		switch cost := 1 + rng.Int64N(5); rng.IntN(6) {
		case 0, 1:
			ttl := time.Duration(1+rng.IntN(60)) * time.Second
			d := n.askFor(limiter.Ask{Key: "sk-1", Cost: requests(cost), Hold: true, TTL: ttl})
			if want := inUse()+cost <= 20; d.Allowed != want {
				t.Fatalf("seed %d: %d slots allowed %v, %d in use", seed, cost, d.Allowed, inUse())
			}
			if d.Allowed {
				all = append(all, held{d.PermitID, cost, now + ttl})
			}
		case 2:
			now += time.Duration(rng.IntN(20)) * time.Second
			n.at(now)
		case 3, 4:
			if len(all) == 0 {
				continue
			}
			i := rng.IntN(len(all))
			var err error
			if rng.IntN(2) == 0 {
				_, err = n.Settle(context.Background(), all[i].permit, nil)
			} else {
				_, err = n.Cancel(context.Background(), all[i].permit)
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			all = slices.Delete(all, i, i+1)
		case 5:
			if len(all) == 0 {
				continue
			}
			h, ttl := &all[rng.IntN(len(all))], time.Duration(1+rng.IntN(60))*time.Second
			_, err := n.ExtendHold(context.Background(), h.permit, ttl)
			if alive := h.expires > now; alive != (err == nil) {
				t.Fatalf("seed %d: extended one that expires at %v, at %v: %v", seed, h.expires, now, err)
			} else if alive {
				h.expires = max(h.expires, now+ttl)
			}
		}
		n.inUse(inUse())
	}
}

// testSlotsInFlight has many take slots, work and give them back: at no time do more work than there are slots, and in
// the end all are free.
func testSlotsInFlight(t *testing.T, b Backend) {
	const most = 5
	c := limiter.New(b.Open(t))
	ctx := context.Background()
	p := policy(t, `"slots": {"scope":"provider","kind":"concurrency","amount":5}, "rpm": {"scope":"key","kind":"rate","amount":1000000,"per":"1m"}`)
	if _, err := c.PutPolicy(ctx, provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	var inFlight, full, worked atomic.Int64
	var wg sync.WaitGroup
	deadline := time.Now().Add(700 * time.Millisecond)
	for i := range 32 {
		wg.Go(func() {
			for time.Now().Before(deadline) {
				d, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-" + strconv.Itoa(i)})
				if err != nil {
					t.Error(err)
					return
				}
				if !d.Allowed {
					full.Add(1)
					continue
				}
				if n := inFlight.Add(1); n > most {
					t.Errorf("%d in flight", n)
				}
				worked.Add(1)
				inFlight.Add(-1)
				if _, err := c.Settle(ctx, d.PermitID, nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	u, err := c.Usage(ctx, limiter.UsageQuery{Provider: provider})
	if err != nil || u.Limits[0].Used != 0 {
		t.Errorf("%+v, %v", u.Limits, err)
	}
	if worked.Load() == 0 || full.Load() == 0 {
		t.Errorf("%d worked, %d found no slot", worked.Load(), full.Load())
	}
}
