package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// outage is a time in which the asks for one provider are decided here, without the store that all instances share: by the
// documents as last seen, and by this instance's part of the limits, or, if the policy says allow, with every limit as a
// shadow. When the store answers again, what was granted here is charged there: see debt.
type outage struct {
	store Store
	part  part
	allow bool

	probing  sync.Mutex   // held by whoever asks whether the store answers again,
	next     time.Time    // which is done from then on
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

// policyOfOutage is what asks for a provider are decided by here, or nil if they are not.
func (c *Coordinator) policyOfOutage(provider string) *policyView {
	v := c.lastKnown(provider)
	if v != nil && v.policy.OnStoreFailure == FailDeny {
		return nil
	}
	return v
}

// standIn decides an ask that the store gave no answer to, unless the policy says deny: then the error stays.
func (c *Coordinator) standIn(a *attempt) {
	if a.usage || c.makeStandIn == nil || !errors.Is(a.err, ErrStoreUnavailable) {
		return
	}
	policy := c.policyOfOutage(a.ask.Provider)
	if policy == nil {
		return
	}
	for cause := a.err; !c.outage(a.ask.Provider, policy.policy, cause).decide(c, policy, a); {
		a.err = cause
	}
}

// decidedHere decides an ask for a provider that is in an outage, unless the store turns out to answer again.
func (c *Coordinator) decidedHere(ctx context.Context, a *attempt) bool {
	if c.away.Load() == 0 || a.err != nil {
		return false
	}
	v, out := c.outages.Load(a.ask.Provider)
	if !out || v.(*outage).end(ctx, c, a.ask.Provider) {
		return false
	}
	a.err = fmt.Errorf("%w: it has given no answer for a moment", ErrStoreUnavailable)
	policy := c.policyOfOutage(a.ask.Provider)
	if policy == nil || v.(*outage).decide(c, policy, a) {
		return true
	}
	a.err = nil
	return false
}

// Pauses of an outage.
const (
	probePause = 100 * time.Millisecond // between one look at whether the store answers again and the next
	endPause   = 50 * time.Millisecond  // that asks may have to wait while what was granted here is charged there
)

// end ends the outage if the store answers again: before anybody asks it for this provider, it is charged what was granted
// here, or what of that can be charged in a short time. It returns whether the outage is over.
func (o *outage) end(ctx context.Context, c *Coordinator, provider string) bool {
	if !o.probing.TryLock() {
		return false
	}
	defer o.probing.Unlock()
	if o.over {
		return true
	}
	if time.Now().Before(o.next) {
		return false
	}
	if !c.answers(ctx, provider) {
		o.next = time.Now().Add(probePause)
		return false
	}
	o.deciding.Lock()
	defer o.deciding.Unlock()
	debts := o.debts(c, provider)
	soon, cancel := context.WithTimeout(context.Background(), endPause)
	defer cancel()
	left := c.charge(soon, provider, debts)
	o.over = true
	c.outages.Delete(provider)
	c.away.Add(-1)
	c.owes(provider, left)
	c.log.Info("the store answers again: permits are decided there", "provider", provider, "charged", len(debts)-len(left), "yet_to_be_charged", len(left))
	return true
}

// answers asks the store for a decision about nothing.
func (c *Coordinator) answers(ctx context.Context, provider string) bool {
	probe := Charge{Provider: provider, PermitID: newPermitID(provider), NotAfter: c.now().Later(askLifetime), DryRun: true}
	c.store.Decide(ctx, []*Charge{&probe})
	return probe.Outcome.Verdict != 0
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

// decide decides an ask here. It returns false when the outage is over.
func (o *outage) decide(c *Coordinator, policy *policyView, a *attempt) bool {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if o.over {
		return false
	}
	for range maxRounds {
		if o.try(c, policy, a) {
			break
		}
	}
	if a.decision == nil {
		return true
	}
	a.decision.Degraded = true
	if a.decision.PermitID != "" {
		a.decision.PermitID = withNote(a.decision.PermitID, a)
	}
	return true
}

// try decides an ask once. It returns false when its time was wrong.
func (o *outage) try(c *Coordinator, policy *policyView, a *attempt) bool {
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
		a.err = fmt.Errorf("%w: the clock does not stand still for long enough", ErrOverloaded)
		return false
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
