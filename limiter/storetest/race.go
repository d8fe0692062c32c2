package storetest

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const clients = 64

// testConcurrentAllOrNothing has many clients of few keys run into limits of all scopes, on counters that hardly drain,
// and then takes stock: each counter holds exactly what was granted.
func testConcurrentAllOrNothing(t *testing.T, b Backend) {
	store := b.Open(t)
	c := limiter.New(store)
	p := policy(t, `
		"all":  {"scope":"provider","kind":"quota","amount":400,"per":"month"},
		"acct": {"scope":"pool","kind":"quota","amount":90,"per":"month"},
		"key":  {"scope":"key","kind":"quota","amount":50,"per":"month"}`)
	ctx := context.Background()
	if _, err := c.PutPolicy(ctx, provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	keys := make([]string, 16)
	for i := range keys {
		keys[i] = limiter.KeyID("sk-" + strconv.Itoa(i))
		doc := `{"pool":"pool-` + strconv.Itoa(i/4) + `"}`
		if _, err := c.PutEntry(ctx, limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: keys[i]}, []byte(doc), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	granted := map[string]int64{}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range 40 {
				key := rand.N(len(keys))
				cost := rand.Int64N(5)
				d, err := c.Acquire(ctx, limiter.Ask{Provider: provider, KeyID: keys[key], Cost: limiter.Costs{{Unit: "requests", Amount: cost}}})
				if err != nil {
					t.Error(err)
					return
				}
				if d.Allowed {
					mu.Lock()
					granted["all"] += cost
					granted["pool-"+strconv.Itoa(key/4)] += cost
					granted[keys[key]] += cost
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for i, key := range keys {
		u, err := c.Usage(ctx, limiter.UsageQuery{Provider: provider, KeyID: key})
		if err != nil {
			t.Fatal(err)
		}
		for j, name := range []string{"pool-" + strconv.Itoa(i/4), "all", key} {
			if l := u.Limits[j]; l.Used != granted[name] || l.Used > l.Amount {
				t.Errorf("%s of %s: %d used of %d, %d granted", l.Name, name, l.Used, l.Amount, granted[name])
			}
		}
	}
	if granted["all"] < 350 { // four pools of 90 and a few that did not fit
		t.Errorf("only %d granted", granted["all"])
	}
}

// grant is one cost granted at a store time.
type grant struct {
	at   limiter.Instant
	cost int64
}

// checkBound fails the test where any interval between two grants, both included, holds more than
// burst + amount·w/per. The grants are in order. It returns the sum.
//
// It runs the excess E = sum − amount·t/per (in parts of 1/per) along the grants: the bound is broken iff E after a grant
// is more than burst above the least E before any earlier one.
func checkBound(t *testing.T, grants []grant, amount, per, burst int64) (total int64) {
	t.Helper()
	least := int64(0)
	for i, g := range grants {
		drained := int64(g.at-grants[0].at) * amount
		if before := total*per - drained; i == 0 || before < least {
			least = before
		}
		total += g.cost
		if over := total*per - drained - least - burst*per; over > 0 {
			t.Errorf("at grant %d the bound is exceeded by %.3f units", i, float64(over)/float64(per))
		}
	}
	return total
}

// testBound hammers one rate from many clients and checks every interval between two grants on the store's clock:
// granted ≤ burst + amount·w/per; and what is denied did not fit into it, at most 250 ms before.
func testBound(t *testing.T, b Backend) {
	// A burst of a second's worth: it is never left untouched, and so no capacity is lost, however busy the machine is.
	const amount, per, burst = 50_000, 10_000_000, 5_000 // per in microseconds
	store := b.Open(t)
	p := policy(t, `"rpm": {"scope":"provider","kind":"rate","amount":50000,"per":"10s","burst":5000}`)
	doc, err := limiter.New(store).PutPolicy(context.Background(), provider, p, limiter.Edit{})
	if err != nil {
		t.Fatal(err)
	}
	terms := &limiter.Terms{Limit: p.Limits[0], Counter: "g/rpm@1", Schedule: limiter.Schedule{
		Changes: []limiter.RateChange{{Rate: limiter.Rate{Units: amount, Per: per}}}}}
	var mu sync.Mutex
	var grants, denials []grant
	deadline := time.Now().Add(700 * time.Millisecond)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			c := &limiter.Charge{Provider: provider, Stamps: limiter.Stamps{Policy: doc.Tag}, Lines: make([]limiter.Line, 1)}
			for time.Now().Before(deadline) {
				c.NotAfter = limiter.InstantOf(time.Now().Add(time.Minute))
				c.Lines[0] = limiter.Line{Terms: terms, Cost: 1 + rand.Int64N(3)}
				store.Decide(context.Background(), []*limiter.Charge{c})
				switch c.Outcome.Verdict {
				case limiter.Granted:
					mu.Lock()
					grants = append(grants, grant{c.Outcome.Now, c.Lines[0].Cost})
					mu.Unlock()
				case limiter.Denied:
					mu.Lock()
					denials = append(denials, grant{c.Outcome.Now, c.Lines[0].Cost})
					mu.Unlock()
				default:
					t.Errorf("outcome %+v", c.Outcome)
					return
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(grants, func(a, b grant) int { return int(a.at - b.at) })
	total := checkBound(t, grants, amount, per, burst)
	if len(denials) == 0 {
		t.Skipf("this machine is too busy: %d were granted, and nothing was denied", total)
	}
	last := slices.MaxFunc(denials, func(a, b grant) int { return int(a.at - b.at) })
	before := int64(0)
	for _, g := range grants {
		if g.at <= last.at {
			before += g.cost
		}
	}
	bound := burst + amount*int64(last.at-grants[0].at)/per
	t.Logf("granted %d of %d, then %d was denied", before, bound, last.cost)
	const lag = amount * 250_000 / per // so long a store may remember a denial
	if before+last.cost+lag <= bound {
		t.Errorf("%d was denied when %d of %d was granted", last.cost, before, bound)
	}
}
