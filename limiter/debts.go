package limiter

import (
	"context"
)

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
