package redisstore

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// TestScriptsAgreeWithGo has the scripts and package limiter make the same random decisions, edits, clock steps and
// undos, and compares every state. PERMITD_DECISIONS says how many, PERMITD_SEED repeats a run. (Package limiter's own
// arithmetic is compared with exact rationals in its tests.)
func TestScriptsAgreeWithGo(t *testing.T) {
	total, seed := environment(t, "PERMITD_DECISIONS", 100_000), uint64(environment(t, "PERMITD_SEED", int(mathrand.Uint32())))
	s, set := openSettable(t)
	begin, n := time.Now(), 0
	for scenario := uint64(0); n < total; scenario++ {
		d := newDuel(t, s, set, mathrand.New(mathrand.NewPCG(seed, scenario)))
		for range 40 {
			n += d.round()
			if t.Failed() {
				t.Fatalf("PERMITD_SEED=%d, scenario %d", seed, scenario)
			}
		}
	}
	t.Logf("%d decisions agree, in %v", n, time.Since(begin).Round(time.Second))
}

func environment(t *testing.T, name string, usual int) int {
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s must be a whole number above 0, not %q", name, text)
	}
	return n
}

// duel drives the scripts through a lane, and the reference beside it.
type duel struct {
	t     *testing.T
	rng   *mathrand.Rand
	set   func(limiter.Instant)
	lane  *lane
	now   limiter.Instant
	speed int64 // microseconds that clocks are moved by at most
	sites []*site
}

// site is a counter: its terms through their edits, and its state as the reference has it.
type site struct {
	terms []*limiter.Terms // the last is in force
	state limiter.State
	quota time.Duration // the length of its windows
}

func newDuel(t *testing.T, s *Store, set func(limiter.Instant), rng *mathrand.Rand) *duel {
	provider := "p" + fmt.Sprint(rng.Uint64())
	d := &duel{t: t, rng: rng, set: set, lane: newQueue(s, provider).idle[0], now: 1795435200_000000 + limiter.Instant(rng.Int64N(1e15))}
	d.speed = []int64{1, 1000, 1e6, 60e6, 86400e6, 40 * 86400e6}[rng.IntN(6)]
	set(d.now)
	for i := range 10 {
		at := &site{}
		if rng.IntN(4) == 0 {
			at.quota = time.Duration(1+rng.Int64N(3*d.speed)) * time.Microsecond
			amount := d.amount()
			at.terms = []*limiter.Terms{{Counter: "q" + strconv.Itoa(i), Limit: &limiter.Limit{Kind: limiter.KindQuota, Mode: d.mode(), Amount: amount, Burst: amount}}}
		} else {
			d.edit(at, i)
		}
		d.sites = append(d.sites, at)
	}
	return d
}

func (d *duel) mode() limiter.Mode {
	if d.rng.IntN(5) == 0 {
		return limiter.Shadow
	}
	return limiter.Enforce
}

func (d *duel) amount() int64 {
	return []int64{1, 2, 7, 50, 999_983, 12_345_679, 1_000_000_007, 1e12, 1 + d.rng.Int64N(1000), 1 + d.rng.Int64N(1e12)}[d.rng.IntN(10)]
}

func (d *duel) rate() limiter.Rate {
	per := []int64{1000, 1e6, 60e6, 3600e6, 86400e6, 30 * 86400e6, 31 * 86400e6, 1000 + d.rng.Int64N(1e6), 1000 + d.rng.Int64N(31*86400e6)}[d.rng.IntN(9)]
	return limiter.Rate{Units: d.amount(), Per: per}
}

// edit puts other terms of a rate in force, dated as a store and limiter.Record.Stamped would.
func (d *duel) edit(at *site, i int) {
	s := limiter.Schedule{}
	if n := len(at.terms); n > 0 {
		was := at.terms[n-1].Schedule
		s = limiter.Schedule{Cut: was.Cut, Slowest: was.Slowest, Changes: append([]limiter.RateChange{}, was.Changes...)}
		for j := range s.Changes {
			s.Changes[j].At = min(s.Changes[j].At, d.now)
		}
	}
	s.Changes = append(s.Changes, limiter.RateChange{At: d.now, Rate: d.rate()})
	if len(s.Changes) > 4 {
		s.Cut, s.Slowest, s.Changes = true, d.rate(), s.Changes[1:]
		if d.rng.IntN(3) == 0 {
			s.Slowest = limiter.Rate{}
		}
	}
	at.terms = append(at.terms, &limiter.Terms{Counter: "r" + strconv.Itoa(i), Schedule: s,
		Limit: &limiter.Limit{Kind: limiter.KindRate, Mode: d.mode(), Amount: d.amount(), Burst: d.amount()}})
}

// round moves the clock, edits, decides one batch and now and then undoes some of it. It returns the number of asks.
func (d *duel) round() int {
	if d.rng.IntN(8) > 0 {
		d.now += limiter.Instant(d.rng.Int64N(d.speed + 1))
	} else if d.rng.IntN(3) == 0 {
		d.now -= limiter.Instant(d.rng.Int64N(d.speed + 1))
	}
	d.set(d.now)
	for i, at := range d.sites {
		if at.quota == 0 && d.rng.IntN(8) == 0 {
			d.edit(at, i)
		}
	}
	charges := make([]*limiter.Charge, 1+d.rng.IntN(maxAsks))
	for i := range charges {
		charges[i] = d.charge()
	}
	r := d.send(charges)
	receipts := make([][]limiter.Receipt, len(charges))
	for i, c := range charges {
		got := *c
		got.Lines = append([]limiter.Line{}, c.Lines...)
		verdict, lines, err := r.next(len(c.Lines))
		if err != nil {
			d.t.Fatal(err)
		}
		d.lane.batch.answer(&got, r, verdict, lines)
		receipts[i] = d.decide(c)
		d.compare(&got, c)
	}
	if d.rng.IntN(3) == 0 {
		d.undo(charges, receipts)
	}
	return len(charges)
}

func (d *duel) charge() *limiter.Charge {
	c := &limiter.Charge{Provider: d.lane.queue.provider, NotAfter: d.now + limiter.Instant(d.rng.IntN(20)-1), DryRun: d.rng.IntN(10) == 0}
	for _, i := range d.rng.Perm(len(d.sites))[:d.rng.IntN(5)] {
		at := d.sites[i]
		terms := at.terms[len(at.terms)-1]
		l := limiter.Line{Terms: terms, Subject: "k", Model: "m:" + strconv.Itoa(i), Free: d.rng.IntN(2) == 0}
		switch d.rng.IntN(4) {
		case 0:
			l.Cost = d.rng.Int64N(terms.Limit.Burst + 2)
		case 1:
			l.Cost = min(1+d.rng.Int64N(3), terms.Limit.Burst)
		case 2:
			l.Cost = d.rng.Int64N(1 + terms.Limit.Burst/8)
		}
		if at.quota > 0 {
			length := limiter.Instant(at.quota.Microseconds())
			l.Window.Start = d.now - d.now%length
			if d.rng.IntN(50) == 0 {
				l.Window.Start -= length
			}
			l.Window.End = l.Window.Start + length
			l.Window.NextEnd = l.Window.End + length
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

// site is where a line's counter is.
func (d *duel) site(l *limiter.Line) *site {
	i, _ := strconv.Atoi(l.Terms.Counter[1:])
	return d.sites[i]
}

// send has the script decide.
func (d *duel) send(charges []*limiter.Charge) *reply {
	d.lane.batch.reset()
	d.lane.seq++
	k := &call{}
	for _, c := range charges {
		(&ask{call: k, charge: c, lines: len(c.Lines)}).encode(d.lane.batch)
	}
	s := d.lane.queue.store
	result, err := s.run(context.Background(), s.client, s.scripts.acquire, d.lane.batch.keys(d.lane.key), d.lane.batch.args(d.lane.seq, "")...)
	if err != nil {
		d.t.Fatal(err)
	}
	r, err := readReply(result)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// decide is what a store has to do, in a few lines.
func (d *duel) decide(c *limiter.Charge) (receipts []limiter.Receipt) {
	c.Outcome = limiter.Outcome{Now: d.now, Verdict: limiter.Granted}
	if d.now > c.NotAfter {
		c.Outcome.Verdict = limiter.Late
		return nil
	}
	for i := range c.Lines {
		if l := &c.Lines[i]; l.Window != (limiter.Window{}) && !l.Window.Contains(d.now) {
			c.Outcome.Verdict = limiter.Late
			return nil
		}
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		l.State = l.Terms.Advance(d.site(l).state, d.now, l.Window)
		l.Fits = l.Terms.Fits(l.State, l.Needs())
		if !l.Fits && l.Terms.Limit.Mode != limiter.Shadow {
			c.Outcome.Verdict = limiter.Denied
		}
	}
	for i := range c.Lines {
		l, st := &c.Lines[i], &d.site(&c.Lines[i]).state
		switch {
		case c.Outcome.Verdict == limiter.Denied && st.Moved(l.State):
			*st = l.State
		case c.Outcome.Verdict == limiter.Granted && !c.DryRun && l.Cost > 0:
			was := l.State.Total
			l.State = l.Terms.Charge(l.State, l.Cost)
			*st = l.State
			if l.State.Total-was == l.Cost { // what a shadow was charged beyond its most is not refunded
				receipts = append(receipts, limiter.Receipt{Total: l.State.Total, Mark: l.State.Mark, Units: l.Cost})
				continue
			}
		}
		receipts = append(receipts, limiter.Receipt{})
	}
	if c.Outcome.Verdict != limiter.Granted || c.DryRun {
		return nil
	}
	return receipts
}

func (d *duel) compare(got, want *limiter.Charge) {
	d.t.Helper()
	if got.Outcome != want.Outcome {
		d.t.Fatalf("outcome %+v, want %+v", got.Outcome, want.Outcome)
		return
	}
	if v := got.Outcome.Verdict; v != limiter.Granted && v != limiter.Denied {
		return
	}
	for i := range got.Lines {
		g, w := got.Lines[i], want.Lines[i]
		w.State.Refunds, w.State.Born = nil, 0
		if g.State != w.State || g.Fits != w.Fits {
			d.t.Fatalf("cost %d: state %+v, fits %v; want %+v, %v\n%+v\nat %d", g.Cost, g.State, g.Fits, w.State, w.Fits, g.Terms.Schedule, d.now)
		}
	}
}

// undo takes some asks of the last batch back, a while later, twice.
func (d *duel) undo(charges []*limiter.Charge, receipts [][]limiter.Receipt) {
	d.now += limiter.Instant(d.rng.Int64N(1+d.speed/4)) * limiter.Instant(d.rng.IntN(2))
	d.set(d.now)
	lost := make([]byte, len(charges))
	for i := range lost {
		lost[i] = '0'
		if d.rng.IntN(3) > 0 {
			continue
		}
		lost[i] = '1'
		for j, r := range receipts[i] {
			if l := &charges[i].Lines[j]; r.Units > 0 {
				at := d.site(l)
				state := at.state // of a rate as it stood when it was last looked at, for the charge was never used
				if at.quota > 0 {
					state = l.Terms.Advance(state, d.now, l.Window)
				}
				if st, n := l.Terms.Refund(state, r, r.Units, d.now); n > 0 {
					at.state = st
				}
			}
		}
	}
	s, b := d.lane.queue.store, d.lane.batch
	for range 2 {
		_, err := s.run(context.Background(), s.client, s.scripts.undo, b.keys(d.lane.key), b.args(d.lane.seq, lost)...)
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

func TestLaneThatWasGivenUpDoesNothing(t *testing.T) {
	s, set := openSettable(t)
	d := newDuel(t, s, set, mathrand.New(mathrand.NewPCG(1, uint64(time.Now().UnixNano()))))
	charges := []*limiter.Charge{d.charge()}
	d.send(charges)
	b, ctx := d.lane.batch, context.Background()
	// The next call is given up before it comes to Redis, and then comes after all.
	if _, err := s.run(ctx, s.client, s.scripts.undo, b.keys(d.lane.key), b.args(d.lane.seq+1, "1")...); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []int64{d.lane.seq, d.lane.seq + 1} {
		result, err := s.run(ctx, s.client, s.scripts.acquire, b.keys(d.lane.key), b.args(seq, "")...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readReply(result); err != errGone {
			t.Errorf("call %d: %v, want %v", seq, err, errGone)
		}
	}
}
