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
	for id, ask := range page.holds {
		d := o.holdDebt(c, provider, id, ask, &page)
		if d == nil {
			continue
		}
		for i, l := range d.lines {
			handed[l.tallied()] += d.units[i]
			if ct := page.counters[l.tallied()]; ct != nil {
				ct.units -= l.Cost
			}
		}
		all = append(all, d)
	}
	for _, ask := range page.once {
		if d := c.onceDebt(provider, ask); d != nil {
			all = append(all, d)
		}
	}
	for at, ct := range page.counters {
		if owed := min(ct.units, o.level(c, provider, ct, handed[at])); owed > 0 {
			line := ct.line
			line.Cost = owed
			all = append(all, &debt{keyID: ct.keyID, pool: ct.pool, lines: []reservedLine{line}})
		}
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

// holdDebt is that of a hold, which is closed here by that; nil if it was closed before. One that has expired is handed over too,
// for it may be settled late.
func (o *outage) holdDebt(c *Coordinator, provider, permitID string, ask *Ask, p *page) *debt {
	k := &Closing{Provider: provider, PermitID: permitID, Status: HoldCancelled}
	h, r, err := c.amendAt(context.Background(), o.place(c), k, nil)
	if err != nil {
		return nil
	}
	if k.Outcome.Verdict != Granted || h.Status != HoldCancelled {
		o.journal.wasClosed(permitID)
		p.closing(h, r)
		return nil
	}
	d := &debt{permitID: permitID, expires: h.Expires, ask: ask, keyID: r.KeyID, pool: r.Pool, lines: r.Lines, units: make([]int64, len(r.Lines))}
	for i := range r.Lines {
		d.units[i] = -h.Changes[i].Adjusted
	}
	return d
}

// onceDebt is that of a remembered grant, whose cost is part of what its counters hold.
func (c *Coordinator) onceDebt(provider string, ask *Ask) *debt {
	policy := c.lastKnown(provider)
	if policy == nil {
		return nil
	}
	_, r := c.reserved(policy, ask)
	return &debt{ask: ask, keyID: r.KeyID, pool: r.Pool, lines: r.Lines}
}

// reserved is an ask resolved under a policy, and what it reserves.
func (c *Coordinator) reserved(policy *policyView, ask *Ask) (*attempt, reservation) {
	a := &attempt{ask: ask, now: c.now()}
	a.charge.Provider = ask.Provider
	a.resolve(c.known(ask.Provider, policy, ask.KeyID, ""))
	return a, a.reservation()
}
