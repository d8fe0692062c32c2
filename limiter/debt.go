package limiter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// debt is what was granted here while the store gave no answer, and has to be charged there: an open hold with all that it
// reserves, a grant that is remembered under an idempotency key, or what else a counter held when the outage was over, which
// is what had not drained.
type debt struct {
	permitID string  // of a hold, else ""
	expires  Instant // of a hold
	ask      *Ask    // of a hold or a remembered grant, else nil
	keyID    string
	pool     string
	lines    []reservedLine
}

// owing is what this instance has yet to bring to the store, by provider.
type owing struct {
	sync.Mutex
	providers map[string]*owed
	some      atomic.Bool // there is any
}

type owed struct {
	debts   []*debt
	errands map[string]errand
	paying  bool
	next    time.Time // not before
}

// at is what is owed at a provider. The lock is held.
func (w *owing) at(provider string) *owed {
	if w.providers == nil {
		w.providers = map[string]*owed{}
	}
	if w.providers[provider] == nil {
		w.providers[provider] = &owed{errands: map[string]errand{}}
	}
	return w.providers[provider]
}

// payPause is how long after an attempt to bring the store what is owed the next is made, at the earliest.
const payPause = 100 * time.Millisecond

// note takes note of whether anything is owed. The lock is held.
func (w *owing) note() {
	some := false
	for provider, o := range w.providers {
		if some = some || len(o.debts)+len(o.errands) > 0; !o.paying && len(o.debts)+len(o.errands) == 0 {
			delete(w.providers, provider)
		}
	}
	w.some.Store(some)
}

// answered says that the store has answered an ask for a provider: its outage is over, if it is in one.
func (c *Coordinator) answered(provider string) {
	if c.away.Load() == 0 && !c.owing.some.Load() {
		return
	}
	c.owing.Lock()
	defer c.owing.Unlock()
	w := c.owing.at(provider)
	if _, out := c.outages.Load(provider); !out && len(w.debts)+len(w.errands) == 0 {
		return
	}
	if !w.paying && !time.Now().Before(w.next) {
		w.paying = true
		go c.pay(provider)
	}
}

// reachable has outages end of which no ask would tell that they are over. The store has answered.
func (c *Coordinator) reachable() {
	c.outages.Range(func(provider, _ any) bool {
		c.answered(provider.(string))
		return true
	})
	c.owing.Lock()
	providers := slices.Collect(maps.Keys(c.owing.providers))
	c.owing.Unlock()
	for _, provider := range providers {
		c.answered(provider)
	}
}

// Degraded reports whether there are providers whose permits are decided here, without the store, or were until a moment ago.
func (c *Coordinator) Degraded() bool {
	return c.away.Load() > 0 || c.cutOff.Load()
}

// pay brings to the store what is owed at a provider. It ends when all is done, or the store gives no answer.
func (c *Coordinator) pay(provider string) {
	debts := c.endOutage(provider)
	c.owing.Lock()
	w := c.owing.at(provider)
	debts = append(w.debts, debts...)
	w.debts = nil
	errands := maps.Clone(w.errands)
	c.owing.Unlock()

	ctx := context.Background()
	left := c.charge(ctx, provider, debts)
	var done []string
	if len(left) == 0 {
		for id, e := range errands {
			if e.run(ctx, c, provider) {
				done = append(done, id)
			}
		}
	}

	c.owing.Lock()
	defer c.owing.Unlock()
	w.debts = append(left, w.debts...)
	for _, id := range done {
		delete(w.errands, id)
	}
	w.paying, w.next = false, time.Now().Add(payPause)
	c.owing.note()
	if len(debts) > 0 && len(left) == 0 {
		c.log.Info("what was granted without the store is charged there", "provider", provider, "charges", len(debts))
	}
}

// endOutage has nothing more decided here, and returns what is owed for what was.
func (c *Coordinator) endOutage(provider string) []*debt {
	v, ok := c.outages.Load(provider)
	if !ok {
		return nil
	}
	o := v.(*outage)
	o.deciding.Lock()
	o.over = true
	o.deciding.Unlock()
	c.outages.Delete(provider)
	c.away.Add(-1)
	return o.debts(c, provider)
}

// debts are what is owed for what was granted. Nobody decides here any more.
func (o *outage) debts(c *Coordinator, provider string) (all []*debt) {
	levels := map[tallied]int64{}
	o.counters.Range(func(at, how any) bool {
		levels[at.(tallied)] = o.level(c, provider, how.(charged))
		return true
	})
	o.holds.Range(func(id, ask any) bool {
		if d := o.holdDebt(c, provider, id.(string), ask.(*Ask)); d != nil {
			for _, l := range d.lines {
				at := tallied{l.Limit, l.Subject, l.Model}
				levels[at] = max(0, levels[at]-l.Cost)
			}
			all = append(all, d)
		}
		return true
	})
	o.once.Range(func(_, ask any) bool {
		if d := c.onceDebt(provider, ask.(*Ask)); d != nil {
			all = append(all, d)
		}
		return true
	})
	for at, level := range levels {
		if v, ok := o.counters.Load(at); ok && level > 0 {
			how := v.(charged)
			how.line.Cost = level
			all = append(all, &debt{keyID: how.keyID, pool: how.pool, lines: []reservedLine{how.line}})
		}
	}
	return all
}

// level is what a counter holds now: of a rate what has not drained, of a quota what was charged in the window that holds.
func (o *outage) level(c *Coordinator, provider string, how charged) int64 {
	policy, line := c.lastKnown(provider), &how.line
	if policy == nil { // deleted meanwhile
		return 0
	}
	t := c.knownAs(provider, policy, how.keyID, how.pool).termsOf(line)
	if t == nil {
		return 0
	}
	here := o.terms(t)
	here.Counter = line.Counter // as it was when it was charged
	for range maxRounds {
		now := c.now()
		charge := Charge{Provider: provider, DryRun: true, NotAfter: forever, Lines: []Line{{Terms: here, Subject: line.Subject, Model: line.Model, Window: t.windowAt(now)}}}
		o.store.Decide(context.Background(), []*Charge{&charge})
		if charge.Outcome.Verdict == Granted {
			return charge.Lines[0].State.whole()
		}
	}
	return 0
}

// holdDebt is that of a hold, unless it has expired: then what it reserved is what its counters hold, and it has no slots.
func (o *outage) holdDebt(c *Coordinator, provider, permitID string, ask *Ask) *debt {
	h, err := o.store.Hold(context.Background(), provider, permitID)
	if err != nil || h.Status != HoldOpen || h.Expires <= h.Seen {
		return nil
	}
	r, err := readReservation(h.Body)
	if err != nil {
		return nil
	}
	return &debt{permitID: permitID, expires: h.Expires, ask: ask, keyID: r.KeyID, pool: r.Pool, lines: r.Lines}
}

// onceDebt is that of a remembered grant, whose cost is part of what its counters hold.
func (c *Coordinator) onceDebt(provider string, ask *Ask) *debt {
	policy := c.lastKnown(provider)
	if policy == nil {
		return nil
	}
	a := &attempt{ask: ask, now: c.now()}
	a.charge.Provider = provider
	a.resolve(c.known(provider, policy, ask.KeyID, ""))
	r := a.reservation()
	return &debt{ask: ask, keyID: r.KeyID, pool: r.Pool, lines: r.Lines}
}

// charge charges debts in the store, and returns those that it gave no answer to. Each is charged once: a charge without an
// answer is taken back by the store.
func (c *Coordinator) charge(ctx context.Context, provider string, debts []*debt) (left []*debt) {
	const batch = 100
	for chunk := range slices.Chunk(debts, batch) {
		if len(left) > 0 {
			left = append(left, chunk...)
			continue
		}
		open := chunk
		var err error
		for round := 0; len(open) > 0 && err == nil && round < maxRounds; round++ {
			open, err = c.chargeOnce(ctx, provider, open)
		}
		left = append(left, open...)
		if err != nil {
			c.log.Debug("what was granted without the store can't be charged there yet", "provider", provider, "error", err)
		}
	}
	return left
}

// chargeOnce tries to charge debts, and returns those that have to be tried again, or are not charged because of an error.
func (c *Coordinator) chargeOnce(ctx context.Context, provider string, debts []*debt) (again []*debt, err error) {
	policy, err := c.policy(ctx, provider)
	if err != nil {
		if errors.Is(err, ErrUnknownProvider) {
			return nil, nil
		}
		return debts, err
	}
	charges := make([]*Charge, len(debts))
	for i, d := range debts {
		charges[i] = d.charge(c, provider, policy)
	}
	c.store.Decide(ctx, charges)
	for i, charge := range charges {
		switch o := &charge.Outcome; {
		case o.Verdict == Repeated && debts[i].permitID != "" && o.Grant.PermitID != debts[i].permitID: // granted to somebody else meanwhile
			debts[i].forgetOnce()
		case o.Verdict == Granted || o.Verdict == Repeated:
			continue
		case o.Verdict == Stale:
			if failed := c.adopt(ctx, provider, charge.KeyID, charge.Pool, &o.Current); failed != nil && !errors.Is(failed, ErrUnknownProvider) {
				err = failed
			}
		case o.Verdict == Late:
			c.learn(o.Now)
		default:
			err = fmt.Errorf("charge what was granted without the store: %w", o.Err)
		}
		again = append(again, debts[i])
	}
	return again, err
}

// forgetOnce has the debt charged whatever was granted under its idempotency key.
func (d *debt) forgetOnce() {
	ask := *d.ask
	ask.IdempotencyKey, d.ask = "", &ask
}

// charge is that of a debt, under what is known now. Limits that are no more are left out, and nothing is denied.
func (d *debt) charge(c *Coordinator, provider string, policy *policyView) *Charge {
	a := &attempt{ask: d.ask, now: c.now(), policy: policy}
	k := c.knownAs(provider, policy, d.keyID, d.pool)
	a.charge = Charge{
		Provider: provider, KeyID: k.keyID, Pool: k.poolName, Stamps: k.stamps(),
		PermitID: d.permitID, NotAfter: a.now.Later(askLifetime),
	}
	for i := range d.lines {
		l := &d.lines[i]
		if t := k.termsOf(l); t != nil {
			a.charge.Lines = append(a.charge.Lines, Line{Terms: t, Subject: l.Subject, Model: l.Model, Cost: l.Cost, Window: t.windowAt(a.now)})
		}
	}
	if d.permitID == "" {
		a.charge.PermitID = newPermitID(provider)
	} else {
		left := max(time.Millisecond, time.Duration(d.expires-a.now)*time.Microsecond)
		a.charge.Hold = &NewHold{TTL: left, Keep: max(policy.policy.HoldTTL, minKept), Body: a.reservation().body()}
	}
	if d.ask != nil {
		a.once()
	}
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		l.Terms = l.Terms.shadowed()
		if d.ask != nil && d.permitID == "" { // its cost is part of what its counters hold
			l.Cost = 0
		}
	}
	return &a.charge
}
