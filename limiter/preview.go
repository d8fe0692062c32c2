package limiter

import (
	"context"
	"fmt"
	"slices"
)

// Preview decides asks, each by itself, as if p were the policy of a provider, by the usage and the entries there are; nil is
// the policy in force. It stores and charges nothing. Limits that p would start afresh, and a provider that does not exist,
// have no usage.
func (c *Coordinator) Preview(ctx context.Context, provider string, p *Policy, asks []Ask) ([]Result, error) {
	results := make([]Result, len(asks))
	var v *policyView
	var stored Record
	for i := range asks {
		a := c.begin(&asks[i])
		a.charge.DryRun = true
		for round := 0; a.err == nil && a.decision == nil; round++ {
			if round > maxRounds {
				a.err = fmt.Errorf("%w: the documents change faster than this ask can follow", ErrOverloaded)
				break
			}
			err := context.Cause(ctx)
			if err == nil && (v == nil || round > 0) {
				v, stored, err = c.proposed(ctx, provider, p)
			}
			if err != nil {
				c.end(a)
				return nil, err
			}
			c.previewOne(ctx, a, v, stored)
		}
		results[i].Decision, results[i].Err = c.end(a)
	}
	return results, nil
}

// proposed is a policy as it would be in force, and the record that is.
func (c *Coordinator) proposed(ctx context.Context, provider string, p *Policy) (*policyView, Record, error) {
	r, err := c.store.Load(ctx, DocID{Provider: provider})
	if err == nil {
		r, err = c.keptPolicy(ctx, provider, r)
	}
	if err != nil {
		return nil, r, err
	}
	if p == nil {
		v, err := c.adoptPolicy(ctx, provider, r)
		return v, r, err
	}
	next, _ := r.nextPolicy(p)
	next.At = c.now()
	v, err := newPolicyView(provider, next.Stamped())
	return v, r, err
}

// previewOne reads the counters that an ask has to fit, which charges nothing and writes nothing, and decides here.
func (c *Coordinator) previewOne(ctx context.Context, a *attempt, v *policyView, stored Record) {
	if a.now == 0 {
		a.now = c.now()
	}
	k := c.known(a.ask.Provider, v, a.ask.KeyID, "")
	a.resolve(k)
	a.name(k, c.names)
	a.hold(v.policy)
	a.charge.Hold = nil
	a.charge.Stamps.Policy = stored.Tag
	asked := slices.Clone(a.charge.Lines)
	for i := range a.charge.Lines { // to be read, not to be decided
		a.charge.Lines[i].Cost, a.charge.Lines[i].Free = 0, true
	}
	c.store.Decide(ctx, []*Charge{&a.charge})
	o := &a.charge.Outcome
	c.learn(o.Now)
	switch o.Verdict {
	case Stale:
		o.Current.Policy = nil // read anew
		a.err, a.now = c.adopt(ctx, a.ask.Provider, a.charge.KeyID, a.charge.Pool, &o.Current), 0
		return
	case Late:
		a.now = o.Now
		return
	case Crowded:
		a.crowd |= o.Crowd
		return
	case Granted:
	default:
		a.err = o.Err
		return
	}
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		l.Cost, l.Free = asked[i].Cost, asked[i].Free
		if l.Fits = l.Terms.Fits(l.State, l.Needs()); !l.Fits && l.Terms.Limit.Mode == Enforce {
			o.Verdict = Denied
		}
	}
	c.conclude(ctx, a)
}
