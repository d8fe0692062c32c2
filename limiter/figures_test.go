package limiter

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// figures are those of a rate limit as documents write them; zero where one leaves a figure out.
type figures struct {
	amount, burstSet int64
	per, slack       time.Duration
	strict           bool
}

const day = 24 * time.Hour

// awkward are figures that rounding anywhere would show in.
var awkward = []figures{
	{amount: 7, per: time.Minute},
	{amount: 7, per: time.Minute, burstSet: 1},
	{amount: 999_983, per: day},
	{amount: 999_983, per: day, burstSet: 1},
	{amount: 1_000_000_007, per: time.Minute},
	{amount: 12_345_679, per: 30 * day},
	{amount: 3, per: time.Millisecond},
	{amount: 1, per: time.Millisecond, burstSet: 1},
	{amount: MaxAmount, per: time.Millisecond, burstSet: MaxAmount},
	{amount: MaxAmount, per: time.Millisecond, burstSet: 1},
	{amount: MaxAmount, per: 31 * day},
	{amount: MaxAmount - 1, per: 31*day - time.Microsecond, burstSet: MaxAmount},
	{amount: 1, per: 31 * day},
	{amount: 1, per: 31 * day, burstSet: MaxAmount},
	{amount: 20, per: time.Minute, strict: true},
	{amount: 2, per: time.Millisecond, strict: true},
	{amount: 999_983, per: day, slack: 7 * time.Second, strict: true},
	{amount: MaxAmount, per: 31 * day, slack: 31 * day, strict: true, burstSet: MaxAmount - 1},
}

// burst is the burst in force: as set, else amount, or a tenth of it for a strict window.
func (f figures) burst() int64 {
	if f.burstSet > 0 {
		return f.burstSet
	}
	if f.strict {
		return max(1, f.amount/10)
	}
	return f.amount
}

// rate is amount per per; what a strict window sustains is amount - burst per (per + slack).
func (f figures) rate() Rate {
	if f.strict {
		return Rate{max(1, f.amount-f.burst()), (f.per + f.slack).Microseconds()}
	}
	return Rate{f.amount, f.per.Microseconds()}
}

// accepted: a strict window needs burst < amount.
func (f figures) accepted() bool { return !f.strict || f.burst() < f.amount }

// under is f with an override on top.
func (f figures) under(o figures) figures {
	if o.amount > 0 {
		f.amount = o.amount
	}
	if o.burstSet > 0 {
		f.burstSet = o.burstSet
	}
	if o.per > 0 {
		f.per = o.per
	}
	return f
}

// clamped is f narrowed by an override that does not fit it.
func (f figures) clamped(o figures) figures {
	sustained := f.amount - f.burst()
	c := figures{amount: f.amount, burstSet: f.burst(), per: max(f.per, o.per), slack: f.slack, strict: f.strict}
	if o.amount > 0 {
		c.amount = min(c.amount, o.amount)
	}
	if o.burstSet > 0 {
		c.burstSet = min(c.burstSet, o.burstSet)
	}
	if c.burstSet >= c.amount {
		c.burstSet = c.amount - min(sustained, c.amount-max(1, c.amount/10))
	}
	if c.amount-c.burstSet > sustained {
		c.amount = c.burstSet + sustained
	}
	return c
}

// limit is the document of the limit; more members may follow.
func (f figures) limit(more string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"scope":"key","kind":"rate","amount":%d,"per":"%s"`, f.amount, f.per)
	if f.burstSet > 0 {
		fmt.Fprintf(&b, `,"burst":%d`, f.burstSet)
	}
	if f.strict {
		fmt.Fprintf(&b, `,"strict_window":true,"slack":"%s"`, f.slack)
	}
	b.WriteString(more + "}")
	return b.String()
}

// policy is a policy with the limit "l" only.
func (f figures) policy() string { return `{"limits":{"l":` + f.limit("") + `}}` }

// entry is that of a key that overrides "l".
func (f figures) entry() string {
	var b bytes.Buffer
	sep := `{"limits":{"l":{`
	for _, m := range []struct {
		name  string
		value int64
	}{{"amount", f.amount}, {"burst", f.burstSet}} {
		if m.value > 0 {
			fmt.Fprintf(&b, `%s"%s":%d`, sep, m.name, m.value)
			sep = ","
		}
	}
	if f.per > 0 {
		fmt.Fprintf(&b, `%s"per":"%s"`, sep, f.per)
	}
	if b.Len() == 0 {
		return `{}`
	}
	return b.String() + "}}}"
}

// spread draws from low to high, all orders of magnitude alike.
func spread(rng *rand.Rand, low, high int64) int64 {
	x := math.Exp(math.Log(float64(low)) + rng.Float64()*(math.Log(float64(high))-math.Log(float64(low))))
	return min(high, max(low, int64(x)))
}

// randomFigures draws figures that a document may hold.
func randomFigures(rng *rand.Rand) figures {
	if rng.IntN(3) == 0 {
		return awkward[rng.IntN(len(awkward))]
	}
	for {
		f := figures{
			amount: spread(rng, 1, MaxAmount),
			per:    time.Duration(spread(rng, 1000, MaxPer.Microseconds())) * time.Microsecond,
		}
		if rng.IntN(2) == 0 {
			f.burstSet = spread(rng, 1, MaxAmount)
		}
		if f.strict = rng.IntN(4) == 0; f.strict && rng.IntN(2) == 0 {
			f.slack = time.Duration(spread(rng, 1, MaxPer.Microseconds())) * time.Microsecond
		}
		if f.accepted() {
			return f
		}
	}
}

// seedOf is where a random test starts: PERMITD_SEED to repeat a run, else anywhere.
func seedOf(t *testing.T) uint64 {
	s := os.Getenv("PERMITD_SEED")
	if s == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("PERMITD_SEED: %v", err)
	}
	return seed
}

// decisions is how many decisions a random test makes.
func decisions(t *testing.T, usual int) int {
	s := os.Getenv("PERMITD_DECISIONS")
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("PERMITD_DECISIONS must be a whole number above 0, not %q", s)
	}
	return n
}

// tuned is one limit, for one key, as a store and an instance see it through edits of the policy and of the key's entry.
type tuned struct {
	tb            rapid.TB
	policy, entry Record
	terms         *Terms
}

// setPolicy writes the policy as a store would at that time, and returns the names of the limits that start afresh.
func (d *tuned) setPolicy(now Instant, doc string) []string {
	d.tb.Helper()
	p, err := ParsePolicy([]byte(doc))
	if err != nil {
		d.tb.Fatalf("%s: %v", doc, err)
	}
	next, restarted := d.policy.nextPolicy(p)
	next.At = now
	d.policy = next.Stamped()
	d.read()
	return restarted
}

// setEntry writes the key's entry as a store would at that time.
func (d *tuned) setEntry(now Instant, doc string) {
	d.tb.Helper()
	p, err := ParsePolicy(d.policy.Body)
	if err != nil {
		d.tb.Fatal(err)
	}
	e, err := ParseEntry(KeyEntry, []byte(doc), p)
	if err != nil {
		d.tb.Fatalf("%s: %v", doc, err)
	}
	next := d.entry.nextEntry(e, d.policy.Generation)
	next.At = now
	d.entry = next.Stamped()
	d.read()
}

// read makes the terms of "l", or of the first limit, as an instance does.
func (d *tuned) read() {
	d.tb.Helper()
	v, err := newPolicyView("acme", d.policy)
	if err != nil {
		d.tb.Fatal(err)
	}
	var e *entryView
	if d.entry.Tag != "" {
		if e, err = newEntryView(keyDoc, d.entry); err != nil {
			d.tb.Fatal(err)
		}
	}
	if d.terms = nil; len(v.terms) > 0 {
		d.terms = e.terms(v, 0)
	}
}
