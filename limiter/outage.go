package limiter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// outage is what decides asks for one provider without the store that all instances share, while that gives no answer: by the
// documents as last seen, and by this instance's part of the limits, or, if the policy says allow, with every limit as a
// shadow. When the store answers again, what was granted here is charged there: see debt.
//
// It is kept for a while when it is over, and for as long as its holds take slots, so that a store that comes and goes has it go
// on with what its counters hold.
type outage struct {
	store  Store
	ending atomic.Bool  // somebody looks whether the store answers again
	next   atomic.Int64 // not before that much after the coordinator's start
	skew   atomic.Int64 // as it was when the outage began: late answers don't move its clock

	deciding sync.RWMutex // held for reading by whoever decides here
	on       bool
	gone     bool         // it will never be on again
	since    time.Time    // when it was over
	busy     atomic.Int64 // until when, in the store's time, slots are taken by holds that were handed over
	rule     atomic.Pointer[rule]
	journal  journal
	handing  sync.RWMutex // before deciding: held while holds are read that are to be handed over
}

// rule is how limits stand in an outage.
type rule struct {
	part  part
	allow bool // whatever the part is
	// assumed is the policy that was assumed when the outage began, whose entries are no longer known once the one in force is.
	// nil: the policy was known.
	assumed *policyView
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
	for cause := a.err; !c.outage(a.ask.Provider, policy, cause).decide(c, policy, a); {
		a.err = cause
	}
}

// decidedHere decides an ask for a provider that is in an outage. It returns false when the provider is in none.
func (c *Coordinator) decidedHere(a *attempt) bool {
	if c.away.Load() == 0 || a.err != nil {
		return false
	}
	v, ok := c.outages.Load(a.ask.Provider)
	policy := c.policyOfOutage(a.ask.Provider)
	if !ok || policy == nil {
		return false
	}
	o := v.(*outage)
	o.look(c, a.ask.Provider)
	return o.decide(c, policy, a)
}

const (
	probePause = 100 * time.Millisecond // between one look at whether the store answers again and the next
	// outageKept is for how long after it was over an outage goes on if there is another.
	outageKept = 10 * time.Minute
	// What is granted while what was granted is charged is charged next: so often, or until there is little.
	handOvers = 5
	fewDebts  = 100
)

// look sees, from time to time, whether the store answers again. If it does, it is charged what was granted here, and, when that
// is done but for a few, the outage is over. Nobody waits for that.
func (o *outage) look(c *Coordinator, provider string) {
	if !o.isOn() || int64(time.Since(c.started)) < o.next.Load() || !o.ending.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer o.ending.Store(false)
		if !c.answers(provider) || !o.handOver(c, provider) {
			o.next.Store(int64(time.Since(c.started) + probePause))
		}
	}()
}

// handOver brings to the store what was granted here, and ends the outage. It returns whether it did.
func (o *outage) handOver(c *Coordinator, provider string) bool {
	charged := 0
	for range handOvers {
		debts := o.debts(c, provider)
		if left := c.charge(context.Background(), provider, debts); len(left) > 0 {
			c.owes(provider, left)
			return false
		}
		if charged += len(debts); len(debts) <= fewDebts {
			break
		}
	}
	o.deciding.Lock()
	if !o.on {
		o.deciding.Unlock()
		return true
	}
	o.on, o.since = false, time.Now()
	o.deciding.Unlock()
	debts := o.debts(c, provider) // what was granted meanwhile
	c.owes(provider, c.charge(context.Background(), provider, debts))
	c.away.Add(-1)
	c.log.Info("the store answers again: permits are decided there", "provider", provider, "charges", charged+len(debts))
	return true
}

// answers asks the store for a decision about nothing.
func (c *Coordinator) answers(provider string) bool {
	probe := Charge{Provider: provider, PermitID: newPermitID(provider), NotAfter: c.now().Later(askLifetime), DryRun: true}
	c.store.Decide(context.Background(), []*Charge{&probe})
	return probe.Outcome.Verdict != 0
}

// outage is that of a provider, on.
func (c *Coordinator) outage(provider string, p *policyView, cause error) *outage {
	for {
		v, ok := c.outages.Load(provider)
		if !ok {
			o := &outage{journal: journal{memory: c.memory}}
			o.store = c.makeStandIn(func() Instant { return o.now(c) })
			var lost bool
			if v, lost = c.outages.LoadOrStore(provider, o); lost {
				discard(o.store)
			}
		}
		if o := v.(*outage); o.begin(c, provider, p, cause) {
			return o
		}
	}
}

// begin has asks decided here, unless the outage is gone.
func (o *outage) begin(c *Coordinator, provider string, p *policyView, cause error) bool {
	o.deciding.Lock()
	defer o.deciding.Unlock()
	if !o.on && !o.gone {
		rule := &rule{part: c.part(), allow: p.policy.OnStoreFailure == FailAllow}
		if was := o.rule.Load(); was != nil && was.part.n > rule.part.n && time.Since(o.since) < outageKept {
			rule.part = was.part
		}
		if p.record.Generation == assumedGeneration {
			rule.assumed = p
		}
		o.on = true
		o.rule.Store(rule)
		o.skew.Store(c.skew.Load())
		o.next.Store(0) // it may be over already: others' asks were answered before this one's failure was known
		c.away.Add(1)
		c.log.Warn("the store gives no answer: permits are decided here", "provider", provider, "on_store_failure", p.policy.OnStoreFailure,
			"divided_by", rule.part.n, "cause", cause)
	}
	return !o.gone
}

func (o *outage) isOn() bool {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	return o.on
}

// tidy forgets an outage that was over long ago, and returns whether it did.
func (o *outage) tidy(c *Coordinator) bool {
	o.deciding.Lock()
	defer o.deciding.Unlock()
	if !o.gone && !o.on && time.Since(o.since) > outageKept && o.now(c) > Instant(o.busy.Load()) {
		o.gone = true
		discard(o.store)
	}
	return o.gone
}

// discard has a store give back the memory that it takes, if it can.
func discard(store Store) {
	if s, ok := store.(interface{ Discard() }); ok {
		s.Discard()
	}
}

// now is the time by which is decided here.
func (o *outage) now(c *Coordinator) Instant { return c.clock() + Instant(o.skew.Load()) }

// terms are those that hold here.
func (o *outage) terms(t *Terms) *Terms {
	rule := o.rule.Load()
	here := rule.part.of(t)
	if rule.allow {
		here = t.shadowed()
	}
	here.Counter = localCounter(t.Counter)
	return here
}

// localCounter is what a counter is called in an outage: the same whether the policy that it is of is one that was assumed, or
// the one in force that turned out to be the same.
func localCounter(counter string) string {
	_, local, _ := strings.Cut(counter, "/")
	return local
}

// decide decides an ask here. It returns false when the outage is over.
func (o *outage) decide(c *Coordinator, policy *policyView, a *attempt) bool {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if !o.on {
		return false
	}
	if assumed := o.rule.Load().assumed; assumed != nil {
		policy = assumed
	}
	a.crowd = 0 // of the store that all share
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
	a.err, a.now = nil, o.now(c)
	a.charge.PermitID = newPermitID(a.ask.Provider) // the store may yet take back what it did under the other
	k := c.known(a.ask.Provider, policy, a.ask.KeyID, "")
	a.resolve(k)
	a.name(k, nil)
	a.hold(policy.policy)
	a.once()
	if a.err = a.refusal; errors.Is(a.err, ErrUnknownKey) { // an entry that was not seen here, maybe
		a.err = fmt.Errorf("%w: this instance has not seen an entry of the key", ErrStoreUnavailable)
	}
	if a.err != nil {
		return true
	}
	granted := a.reservation()
	a.charge.Stamps = Stamps{}
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		if l.Terms = o.terms(l.Terms); l.Needs() > l.Terms.Limit.Burst && l.Terms.Limit.Mode == Enforce {
			a.err = fmt.Errorf("%w: the ask fits limit %q, but not this instance's share of it", ErrStoreUnavailable, l.Terms.Limit.Name)
			return true
		}
	}
	bytes, ok := o.journal.room(a, &granted)
	if !ok {
		a.err = fmt.Errorf("%w: no memory is free for what has to be charged when the store answers again", ErrOverloaded)
		return true
	}
	defer c.memory.Add(-bytes)
	o.store.Decide(context.Background(), []*Charge{&a.charge})
	if !c.conclude(context.Background(), a) {
		a.err = fmt.Errorf("%w: the clock does not stand still for long enough", ErrOverloaded)
		return false
	}
	if a.charge.Outcome.Verdict == Granted && !a.ask.DryRun {
		o.journal.note(a, &granted)
	}
	return true
}

// place is where the holds are kept that were granted here.
func (o *outage) place(c *Coordinator) place {
	policy := func(_ context.Context, provider string) (*policyView, error) {
		if v := c.lastKnown(provider); v != nil {
			return v, nil
		}
		return nil, unknownProvider(provider)
	}
	return place{o.store, policy, o.terms}
}

// amend closes or extends a hold here, if it was granted here and not handed over. It returns false when it has to be asked for
// elsewhere.
func (o *outage) amend(ctx context.Context, c *Coordinator, k *Closing, actual Costs) (h *Hold, r *reservation, err error, here bool) {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if o.gone || !o.journal.has(k.PermitID) {
		return nil, nil, nil, false
	}
	h, r, err = c.amendAt(ctx, o.place(c), k, actual)
	if err == nil && h.Status != HoldOpen {
		o.journal.closed(k.PermitID, h, r)
	}
	return h, r, err, true
}

// follow does here to a hold that was granted here what was done to it elsewhere, so that it takes its slots for as long as there.
func (o *outage) follow(c *Coordinator, k *Closing, h *Hold, actual Costs) {
	o.handing.RLock() // until it is known what is to be handed over
	defer o.handing.RUnlock()
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if o.gone {
		return
	}
	here := &Closing{Provider: k.Provider, PermitID: k.PermitID, Status: h.Status}
	if h.Status == HoldOpen {
		if here.TTL = time.Duration(h.Expires-o.now(c)) * time.Microsecond; here.TTL <= 0 {
			return
		}
	} else if k.Outcome.Verdict != Granted { // it was closed by another call
		actual = nil
	}
	if kept, _, err := c.amendAt(context.Background(), o.place(c), here, actual); err == nil && kept.Status == HoldOpen {
		o.inUse(kept.Expires)
	}
}

// inUse says that slots are taken until then.
func (o *outage) inUse(until Instant) {
	for {
		was := o.busy.Load()
		if was >= int64(until) || o.busy.CompareAndSwap(was, int64(until)) {
			return
		}
	}
}

// closed is a hold that was closed here, if there is one.
func (o *outage) closed(ctx context.Context, k *Closing) (*Hold, *reservation, bool) {
	o.deciding.RLock()
	defer o.deciding.RUnlock()
	if o.gone {
		return nil, nil, false
	}
	h, err := o.store.Hold(ctx, k.Provider, k.PermitID)
	if err != nil || h.Status == 0 || h.Status == HoldOpen {
		return nil, nil, false
	}
	r, err := readReservation(h.Body)
	return &h, &r, err == nil
}
