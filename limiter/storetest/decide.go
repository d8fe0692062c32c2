package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const threeScopes = `
	"all":  {"scope":"provider","kind":"rate","amount":100,"per":"1m"},
	"acct": {"scope":"pool","kind":"quota","amount":50,"per":"day"},
	"key":  {"scope":"key","kind":"rate","amount":2,"per":"1m"}`

func testAllOrNothing(t *testing.T, b Backend) {
	n := newBench(t, b, threeScopes)
	n.grant(2)
	n.deny(1, 30*time.Second)
	n.remaining("all", 98)
	n.remaining("acct", 48)
	n.remaining("key", 0)
}

func testDryRun(t *testing.T, b Backend) {
	n := newBench(t, b, threeScopes)
	for range 3 {
		d := n.askFor(limiter.Ask{Key: "sk-1", DryRun: true})
		if !d.Allowed || d.Limits[0].Remaining != 50 || d.Limits[2].Remaining != 2 {
			t.Fatalf("a dry run shows %+v, want the figures before charging", d)
		}
	}
	n.grant(2)
	if d := n.askFor(limiter.Ask{Key: "sk-1", DryRun: true}); d.Allowed || d.RetryAfter != 30*time.Second {
		t.Fatalf("a dry run beyond the limit says %+v", d)
	}
}

func testCostZero(t *testing.T, b Backend) {
	n := newBench(t, b, threeScopes)
	n.grant(2)
	n.grant(0)
	n.remaining("all", 98)
}

// The example of the documentation: 10 a minute is one every 6 s, and 10 may go at once.
func testRateTimetable(t *testing.T, b Backend) {
	n := newBench(t, b, `"rpm": {"scope":"key","kind":"rate","amount":10,"per":"1m"}`)
	n.grant(10)
	n.deny(1, 6*time.Second)
	n.at(6*time.Second - time.Microsecond)
	n.deny(1, time.Microsecond)
	n.at(6 * time.Second)
	n.grant(1)
	n.deny(1, 6*time.Second)
	n.at(3 * time.Second) // the clock steps back: nothing drains, and the measure starts here
	n.deny(1, 6*time.Second)
	n.at(9 * time.Second)
	n.grant(1)
	n.at(time.Hour)
	n.remaining("rpm", 10)
	n.unfit(11)
}

// unfit expects a cost to be refused because it could never fit.
func (n *bench) unfit(cost int64) {
	n.Helper()
	_, err := n.Acquire(context.Background(), limiter.Ask{
		Provider: provider, Key: "sk-1", Cost: limiter.Costs{{Unit: "requests", Amount: cost}}})
	if !errors.Is(err, limiter.ErrCostExceedsLimit) {
		n.Fatalf("a cost of %d: %v, want it refused for good", cost, err)
	}
}

func testQuotaTimetable(t *testing.T, b Backend) {
	n := newBench(t, b, `"rpd": {"scope":"key","kind":"quota","amount":5,"per":"day"}`)
	n.grant(5) // at 09:00
	n.deny(1, 15*time.Hour)
	n.at(15*time.Hour - time.Microsecond)
	n.deny(1, time.Microsecond)
	n.at(15 * time.Hour)
	n.grant(4)
	n.at(15*time.Hour - time.Second) // back over midnight: the new day's counter goes on
	n.deny(2, 24*time.Hour+time.Second)
	n.grant(1)
	n.at(39 * time.Hour)
	n.grant(5)
}

func testStrictTimetable(t *testing.T, b Backend) {
	n := newBench(t, b, `"rpm": {"scope":"key","kind":"rate","amount":20,"per":"50s","strict_window":true,"burst":4,"slack":"10s"}`)
	n.grant(4) // sustains 16 a minute
	n.deny(1, 3750*time.Millisecond)
	n.at(15 * time.Second)
	n.grant(4)
}

func testShadow(t *testing.T, b Backend) {
	n := newBench(t, b, `"rpm": {"scope":"key","kind":"rate","amount":10,"per":"10s","mode":"shadow"}`)
	n.grant(10)
	d := n.ask(5)
	if l := d.Limits[0]; !d.Allowed || !l.WouldDeny || l.Refused {
		t.Fatalf("a shadow limit beyond its bound: %+v", d)
	}
	n.grant(1_000_000) // never makes a cost unfit either
	if used := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, "rpm").Used; used != 20 {
		t.Fatalf("used is %d, want 20: a shadow limit owes at most one amount past its burst", used)
	}
}

func testSubjects(t *testing.T, b Backend) {
	n := newBench(t, b, `
		"key":   {"scope":"key","kind":"rate","amount":1,"per":"1m"},
		"pool":  {"scope":"pool","kind":"rate","amount":3,"per":"1m"},
		"model": {"scope":"provider","kind":"rate","amount":2,"per":"1m","per_model":true}`)
	for _, key := range []string{"sk-a", "sk-b", "sk-c", "sk-d"} {
		if _, err := n.PutEntry(context.Background(), limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: limiter.KeyID(key)}, []byte(`{"pool":"acme"}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		key, model string
		denied     []string
	}{
		{"sk-a", "m1", nil},
		{"sk-a", "m2", []string{"key"}},
		{"sk-b", "m1", nil},
		{"sk-c", "m1", []string{"model"}},
		{"sk-c", "m2", nil},
		{"sk-d", "m2", []string{"pool"}},
		{"sk-e", "m2", nil}, // in no pool: a pool of its own
		{"sk-f", "m2", []string{"model"}},
	} {
		d := n.askFor(limiter.Ask{Key: c.key, Model: c.model})
		if got := d.Violated(); len(got) != len(c.denied) || len(got) > 0 && got[0] != c.denied[0] {
			t.Fatalf("%s for %s: refused by %v, want %v", c.key, c.model, got, c.denied)
		}
	}
}

// testFarWindow: a clock that steps far ahead and back leaves no counter in a window that ends there.
func testFarWindow(t *testing.T, b Backend) {
	const day = 24 * time.Hour
	n := newBench(t, b, `"rpd": {"scope":"key","kind":"quota","amount":5,"per":"day"}`)
	n.grant(2)
	for range 2 {
		n.at(400 * day)
		n.grant(5)
		n.deny(1, 15*time.Hour)
		n.at(time.Hour)
		n.grant(5)
		n.deny(1, 14*time.Hour)
	}
	n.at(day) // into the next window and back: that one is kept
	n.grant(3)
	n.at(14 * time.Hour)
	n.remaining("rpd", 2)
	n.at(2 * day)
	n.grant(5)
}

// testProvidersApart: limits, keys, pools and slots of the same names count apart at two providers.
func testProvidersApart(t *testing.T, b Backend) {
	const other = "anthropic"
	ctx := context.Background()
	n := newBench(t, b, `
		"a": {"scope":"provider","kind":"rate","amount":60,"per":"1m"},
		"b": {"scope":"pool","kind":"quota","amount":60,"per":"day"},
		"c": {"scope":"key","kind":"rate","amount":60,"per":"1m"},
		"d": {"scope":"key","kind":"concurrency","amount":60}`)
	kinds := policy(t, `
		"a": {"scope":"provider","kind":"quota","amount":60,"per":"day"},
		"b": {"scope":"key","kind":"rate","amount":60,"per":"1m"},
		"c": {"scope":"pool","kind":"rate","amount":60,"per":"1m"},
		"d": {"scope":"key","kind":"concurrency","amount":60}`)
	if _, err := n.PutPolicy(ctx, other, kinds, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.PutPolicy(ctx, "third", kinds, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{provider, other, "third"} {
		for _, key := range []string{"sk-pooled", "sk-alone"} {
			if key == "sk-pooled" {
				if _, err := n.PutEntry(ctx, limiter.DocID{Provider: p, Kind: limiter.KeyEntry, Name: limiter.KeyID(key)}, []byte(`{"pool":"acme"}`), limiter.Edit{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	used := map[string]int64{other: -1} // the twin was charged before its policy was written anew
	for i := range 12 {
		p := []string{provider, other, "third"}[i%3]
		key := []string{"sk-pooled", "sk-alone"}[i/3%2]
		d, err := n.Acquire(ctx, limiter.Ask{Provider: p, Key: key, IdempotencyKey: "the-same"[:1+i/3]})
		if err != nil || !d.Allowed || d.Replayed {
			t.Fatalf("%s: %+v, %v", p, d, err)
		}
		if used[p] < 0 {
			used[p] = 0
		}
		used[p]++
		for _, l := range d.Limits {
			want := 60 - used[p]
			if l.Name != "a" { // each key and pool was asked for every other time
				want = 60 - (used[p]+1)/2
			}
			if l.Remaining != want {
				t.Errorf("%d asks for %s: %s has %d remaining, want %d", used[p], p, l.Name, l.Remaining, want)
			}
		}
	}
}

// charge is one charge of the given cost on the first limit, resolved by hand.
func (n *bench) charge(cost int64) *limiter.Charge {
	n.Helper()
	doc, err := n.Policy(context.Background(), provider)
	if err != nil {
		n.Fatal(err)
	}
	l := doc.Policy.Limits[0]
	return &limiter.Charge{
		Provider: provider, KeyID: limiter.KeyID("sk-1"), PermitID: "p_" + provider + "_1",
		Stamps: limiter.Stamps{Policy: doc.Tag}, NotAfter: n.now,
		Lines: []limiter.Line{{
			Terms: &limiter.Terms{Limit: l, Counter: "by-hand", Schedule: limiter.Schedule{
				Changes: []limiter.RateChange{{At: start, Rate: limiter.Rate{Units: l.Amount, Per: max(1, l.Per.Microseconds())}}}}},
			Subject: "s", Cost: cost,
		}},
	}
}

// verdict decides one charge.
func (n *bench) verdict(c *limiter.Charge, want limiter.Verdict) {
	n.Helper()
	n.store.Decide(context.Background(), []*limiter.Charge{c})
	if c.Outcome.Verdict != want || c.Outcome.Err != nil {
		n.Fatalf("outcome %+v, want verdict %d", c.Outcome, want)
	}
}

const onePerMinute = `"rpm": {"scope":"key","kind":"rate","amount":1,"per":"1m"}`

func testNotAfter(t *testing.T, b Backend) {
	n := newBench(t, b, onePerMinute)
	c := n.charge(1)
	n.at(time.Microsecond)
	n.verdict(c, limiter.Late)
	if c.Outcome.Now != n.now {
		t.Fatalf("a late charge is told %d, want the time %d", c.Outcome.Now, n.now)
	}
	c.NotAfter = n.now
	n.verdict(c, limiter.Granted)
	n.verdict(c, limiter.Denied)
}

func testWrongWindow(t *testing.T, b Backend) {
	n := newBench(t, b, `"rpd": {"scope":"key","kind":"quota","amount":1,"per":"day"}`)
	for _, w := range []limiter.Window{
		{},
		{Start: n.now - 10, End: n.now},
		{Start: n.now + 1, End: n.now + 10},
	} {
		c := n.charge(1)
		c.Lines[0].Window = w
		n.verdict(c, limiter.Late)
	}
	c := n.charge(1)
	c.Lines[0].Window = limiter.Window{Start: n.now, End: n.now + 1}
	n.verdict(c, limiter.Granted)
	if c.Lines[0].State.Mark != n.now+1 || c.Lines[0].State.Used != 1 {
		t.Fatalf("state after the charge: %+v", c.Lines[0].State)
	}
}

func testCancelled(t *testing.T, b Backend) {
	n := newBench(t, b, onePerMinute)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := n.charge(1)
	n.store.Decide(ctx, []*limiter.Charge{c})
	if !errors.Is(c.Outcome.Err, context.Canceled) || c.Outcome.Verdict != 0 {
		t.Fatalf("a cancelled ask: %+v", c.Outcome)
	}
	n.at(time.Second) // past the charge's not-after, in case it is still on its way
	n.verdict(n.charge(1), limiter.Granted)
}
