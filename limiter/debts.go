package limiter

import "context"

// debts are what is owed for what was granted since it was last asked for. Asks may be decided meanwhile.
//
// Nothing changes here by that. Of a hold that is open the store is to have a record, charged with what of it has not drained.
// Of everything else a counter owes what it holds, as far as that was charged since. So an outage that goes on, or the next
// one, grants no more for having handed anything over, and a hold takes its slots here until it expires or is closed.
func (o *outage) debts(c *Coordinator, provider string) (all []*debt) {
	o.handing.Lock()
	defer o.handing.Unlock()
	o.deciding.Lock() // nobody is about to close one of the holds
	page := o.journal.take()
	o.deciding.Unlock()
	levels := levels{c: c, o: o, provider: provider, policy: c.lastKnown(provider), by: map[tallied]*level{}}
	for id, n := range page.holds {
		d := o.holdDebt(provider, id, n, &page, &levels)
		if d == nil {
			c.memory.Add(-n.bytes)
			continue
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
		l := levels.by[at]
		if l == nil { // no hold took a part of it
			l = levels.read(ct.keyID, ct.pool, &ct.line)
		}
		owed := min(ct.units, l.state.whole())
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

// holdDebt is that of a hold, nil if its record is gone. One that has expired is handed over too, for it may be settled late.
func (o *outage) holdDebt(provider, permitID string, n noted, p *page, levels *levels) *debt {
	h, err := o.store.Hold(context.Background(), provider, permitID)
	if err != nil || h.Status != HoldOpen {
		return nil
	}
	r, err := readReservation(h.Body)
	if err != nil {
		return nil
	}
	d, _ := newDebt(&r)
	d.permitID, d.expires, d.ask, d.slots, d.bytes = permitID, h.Expires, n.ask, n.slots, n.bytes
	for i := range r.Lines {
		line := &r.Lines[i]
		l := levels.of(r.KeyID, r.Pool, line)
		d.units[i] = l.part(h.Receipts[i], line.Cost)
		if ct := p.counters[line.tallied()]; ct != nil {
			ct.units -= line.Cost
		}
	}
	if d.slots != 0 {
		o.inUse(h.Expires)
	}
	return d
}

// levels are what counters hold, of a rate what has not drained, of a quota what was charged in the window that holds; less what
// parts were taken of it.
type levels struct {
	c        *Coordinator
	o        *outage
	provider string
	policy   *policyView // nil: the provider was deleted meanwhile
	by       map[tallied]*level
}

type level struct {
	terms *Terms // nil: the limit is no more
	state State
	now   Instant
}

// of is the level of a counter that a line was charged to.
func (ls *levels) of(keyID, pool string, line *reservedLine) *level {
	at := line.tallied()
	if ls.by[at] == nil {
		ls.by[at] = ls.read(keyID, pool, line)
	}
	return ls.by[at]
}

func (ls *levels) read(keyID, pool string, line *reservedLine) *level {
	if ls.policy == nil {
		return &level{}
	}
	t := ls.c.knownAs(ls.provider, ls.policy, keyID, pool).termsOf(line)
	if t == nil {
		return &level{}
	}
	here := ls.o.terms(t).shadowed()
	here.Counter = localCounter(line.Counter) // as it was when it was charged
	for range maxRounds {
		now := ls.o.now(ls.c)
		charge := Charge{Provider: ls.provider, NotAfter: forever, DryRun: true,
			Lines: []Line{{Terms: here, Subject: line.Subject, Model: line.Model, Window: t.windowAt(now)}}}
		ls.o.store.Decide(context.Background(), []*Charge{&charge})
		if charge.Outcome.Verdict == Granted {
			return &level{here, charge.Lines[0].State, charge.Outcome.Now}
		}
	}
	return &level{}
}

// part takes what the level holds of one charge, and returns how much that was. Of slots it is nothing.
func (l *level) part(of Receipt, units int64) (n int64) {
	if l.terms == nil || l.terms.Limit.Kind == KindConcurrency {
		return 0
	}
	l.state, n = l.terms.Refund(l.state, of, units, l.now)
	return n
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
