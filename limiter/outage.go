package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// outage is a time in which the asks for one provider are decided here, without the store that all instances share: by the
// documents as last seen, and by this instance's part of the limits, or, if the policy says allow, with every limit as a
// shadow. When the store answers again, what was granted here is charged there: see debt.
type outage struct {
	store Store
	part  part
	allow bool

	deciding sync.RWMutex // held for reading by whoever decides here
	over     bool         // nothing is decided here any more

	counters sync.Map // tallied → who was first charged there
	holds    sync.Map // permit id → *Ask, of those that were not closed
	once     sync.Map // onceID → *Ask, of those without a hold
}

// tallied is a counter that was charged here.
type tallied struct{ limit, subject, model string }

// charged is how to come by a counter: an ask's key and pool, and the line.
type charged struct {
	keyID, pool string
	line        reservedLine
}

// lastKnown is the policy of a provider as last seen, or as it was assumed, or nil.
func (c *Coordinator) lastKnown(provider string) *policyView {
	for _, views := range []*sync.Map{&c.policies, &c.assumed} {
		if v, ok := views.Load(provider); ok {
			return v.(*policyView)
		}
	}
	return nil
}

// standIn decides an ask that the store gave no answer to, unless the policy says deny: then the error stays.
func (c *Coordinator) standIn(a *attempt) {
	if a.usage || c.makeStandIn == nil || !errors.Is(a.err, ErrStoreUnavailable) {
		return
	}
	policy := c.lastKnown(a.ask.Provider)
	if policy == nil || policy.policy.OnStoreFailure == FailDeny {
		return
	}
	for cause, round := a.err, 0; round < maxRounds; round++ {
		if c.outage(a.ask.Provider, policy.policy, cause).decide(c, policy, a) {
			return
		}
		a.err = cause
	}
}

// outage is the one that a provider is in, begun if it is in none.
func (c *Coordinator) outage(provider string, p *Policy, cause error) *outage {
	if o, ok := c.outages.Load(provider); ok {
		return o.(*outage)
	}
	o, was := c.outages.LoadOrStore(provider, &outage{store: c.makeStandIn(c.now), part: c.part(), allow: p.OnStoreFailure == FailAllow})
	if !was {
		c.away.Add(1)
		c.log.Warn("the store gives no answer: permits are decided here", "provider", provider, "on_store_failure", p.OnStoreFailure,
			"divided_by", o.(*outage).part.n, "cause", cause)
	}
	return o.(*outage)
}

// terms are those that hold here.
func (o *outage) terms(t *Terms) *Terms {
	if o.allow {
		return t.shadowed()
	}
	return o.part.of(t)
}

// decide decides an ask here. It returns false when that has to be tried again.
func (o *outage) decide(c *Coordinator, policy *policyView, a *attempt) bool {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if o.over {
		return false
	}
	a.err, a.now = nil, c.now()
	a.charge.PermitID = newPermitID(a.ask.Provider) // the store may yet take back what it did under the other
	a.resolve(c.known(a.ask.Provider, policy, a.ask.KeyID, ""))
	a.hold(policy.policy)
	a.once()
	if a.err = a.refusal; a.err != nil {
		return true
	}
	granted := a.reservation()
	a.charge.Stamps = Stamps{}
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		if l.Terms = o.terms(l.Terms); l.Cost > l.Terms.Limit.Burst && l.Terms.Limit.Mode == Enforce {
			a.err = fmt.Errorf("%w: the ask fits limit %q, but not this instance's share of it", ErrStoreUnavailable, l.Terms.Limit.Name)
			return true
		}
	}
	o.store.Decide(context.Background(), []*Charge{&a.charge})
	if !c.conclude(context.Background(), a) {
		return false
	}
	if a.decision == nil {
		return true
	}
	a.decision.Degraded = true
	if a.decision.PermitID != "" {
		a.decision.PermitID = withNote(a.decision.PermitID, a)
	}
	if a.charge.Outcome.Verdict == Granted && !a.ask.DryRun {
		o.note(a, &granted)
	}
	return true
}

// note remembers what was granted here, to charge it where all instances see it.
func (o *outage) note(a *attempt, r *reservation) {
	for i, l := range r.Lines {
		at := tallied{l.Limit, l.Subject, l.Model}
		if _, known := o.counters.Load(at); !known && l.Cost > 0 && a.charge.Lines[i].Terms.Limit.Kind != KindConcurrency {
			o.counters.Store(at, charged{r.KeyID, r.Pool, l})
		}
	}
	ask := *a.ask
	ask.Cost = slices.Clone(ask.Cost)
	switch {
	case a.charge.Hold != nil:
		o.holds.Store(a.charge.PermitID, &ask)
	case a.charge.Once != nil:
		o.once.Store(a.charge.Once.ID, &ask)
	}
}

// amend closes or extends a hold here, if it was granted here. It returns false when it has to be asked for elsewhere.
func (o *outage) amend(ctx context.Context, c *Coordinator, k *Closing, cost costOf) (h *Hold, r *reservation, err error, here bool) {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if o.over {
		return nil, nil, nil, false
	}
	policy := func(_ context.Context, provider string) (*policyView, error) {
		if v := c.lastKnown(provider); v != nil {
			return v, nil
		}
		return nil, unknownProvider(provider)
	}
	h, r, err = c.amendAt(ctx, place{o.store, policy, o.terms}, k, cost)
	if err == nil && h.Status != HoldOpen {
		o.holds.Delete(k.PermitID)
	}
	return h, r, err, !errors.Is(err, ErrUnknownPermit)
}
