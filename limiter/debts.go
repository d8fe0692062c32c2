package limiter

import "context"

// debts are what is owed for what was granted since it was last asked for. Asks may be decided meanwhile.
//
// A hold that is open is handed over: it is cancelled here, and what of its charge had not drained is charged there with it.
// Of everything else a counter owes what it holds, as far as that was charged since. What is owed stays charged here, too, so
// that an outage that goes on, or the next one, grants no more for it.
func (o *outage) debts(c *Coordinator, provider string) (all []*debt) {
	page := o.journal.take()
	handed := map[tallied]int64{} // what is charged with holds
	for id, n := range page.holds {
		d, r := o.holdDebt(c, provider, id, n, &page)
		if d == nil {
			c.memory.Add(-n.bytes)
			continue
		}
		for i := range r.Lines {
			l := &r.Lines[i]
			handed[l.tallied()] += d.units[i]
			if ct := page.counters[l.tallied()]; ct != nil {
				ct.units -= l.Cost
			}
		}
		all = append(all, d)
	}
	for _, n := range page.once {
		d := c.onceDebt(provider, n)
		if d == nil {
			c.memory.Add(-n.bytes)
			continue
		}
		all = append(all, d)
	}
	for at, ct := range page.counters {
		owed := min(ct.units, o.level(c, provider, ct, handed[at]))
		if owed <= 0 {
			c.memory.Add(-ct.bytes())
			continue
		}
		line := ct.line
		line.Cost = owed
		d, _ := newDebt(&reservation{KeyID: ct.keyID, Pool: ct.pool, Lines: []reservedLine{line}})
		d.bytes = ct.bytes()
		all = append(all, d)
	}
	return all
}

// level is what a counter holds beside what is handed over with holds, which is charged to it again: of a rate what has not
// drained, of a quota what was charged in the window that holds.
func (o *outage) level(c *Coordinator, provider string, ct *charged, handed int64) int64 {
	policy := c.lastKnown(provider)
	if policy == nil { // deleted meanwhile
		return 0
	}
	t := c.knownAs(provider, policy, ct.keyID, ct.pool).termsOf(&ct.line)
	if t == nil {
		return 0
	}
	here := o.terms(t).shadowed()
	here.Counter = localCounter(ct.line.Counter) // as it was when it was charged
	for range maxRounds {
		now := o.now(c)
		charge := Charge{Provider: provider, NotAfter: forever,
			Lines: []Line{{Terms: here, Subject: ct.line.Subject, Model: ct.line.Model, Cost: handed, Window: t.windowAt(now)}}}
		o.store.Decide(context.Background(), []*Charge{&charge})
		if charge.Outcome.Verdict == Granted {
			return charge.Lines[0].State.whole() - handed
		}
	}
	return 0
}

// holdDebt is that of a hold, which is closed here by that, and what it reserves; nil if it was closed before. One that has
// expired is handed over too, for it may be settled late.
func (o *outage) holdDebt(c *Coordinator, provider, permitID string, n noted, p *page) (*debt, *reservation) {
	k := &Closing{Provider: provider, PermitID: permitID, Status: HoldCancelled}
	h, r, err := c.amendAt(context.Background(), o.place(c), k, nil)
	if err != nil {
		return nil, nil
	}
	if k.Outcome.Verdict != Granted || h.Status != HoldCancelled {
		o.journal.wasClosed(permitID, h)
		c.memory.Add(p.closing(h, r))
		return nil, nil
	}
	d, _ := newDebt(r)
	d.permitID, d.expires, d.ask, d.bytes = permitID, h.Expires, n.ask, n.bytes
	for i := range r.Lines {
		d.units[i] = -h.Changes[i].Adjusted
	}
	return d, r
}

// onceDebt is that of a remembered grant, whose cost is part of what its counters hold.
func (c *Coordinator) onceDebt(provider string, n noted) *debt {
	policy := c.lastKnown(provider)
	if policy == nil {
		return nil
	}
	_, r := c.reserved(policy, n.ask)
	d, _ := newDebt(&r)
	d.ask, d.bytes = n.ask, n.bytes
	return d
}

// reserved is an ask resolved under a policy, and what it reserves.
func (c *Coordinator) reserved(policy *policyView, ask *Ask) (*attempt, reservation) {
	a := &attempt{ask: ask, now: c.now()}
	a.charge.Provider = ask.Provider
	a.resolve(c.known(ask.Provider, policy, ask.KeyID, ""))
	return a, a.reservation()
}
