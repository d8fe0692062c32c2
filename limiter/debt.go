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
	"unsafe"

	"github.com/permitd/permitd/limiter/internal/size"
)

// debt is what was granted here while the store gave no answer, and has to be charged there: an open hold with all that it
// reserves, a grant that is remembered under an idempotency key, or what else a counter held when the outage was over, which
// is what had not drained.
type debt struct {
	permitID string  // of a hold, else ""
	expires  Instant // of a hold
	ask      *Ask    // of a hold or a remembered grant, else nil
	reserved []byte  // the body of a reservation: the key, the pool and the lines
	units    []int64 // of a hold: what of its lines is charged, the rest having drained; of slots nothing
	slots    uint64  // of a hold: which of its lines took slots, in bits
	crowd    Crowd   // kinds of names of which the store has too many to count the debt's apart
	bytes    int64   // taken for it
}

// newDebt is a debt of what is reserved, and the bytes that it takes, none of which are taken.
func newDebt(r *reservation) (d *debt, bytes int64) {
	body, _ := r.body()
	d = &debt{reserved: slices.Clone(body), units: make([]int64, len(r.Lines))}
	return d, size.Alloc(int(unsafe.Sizeof(*d))) + size.Alloc(len(body)) + size.Alloc(8*len(d.units)) + size.SliceEntry(8)
}

// owing is what this instance has yet to bring to the store, by provider.
type owing struct {
	sync.Mutex
	providers map[string]*owed
	some      atomic.Bool // there is any
}

type owed struct {
	debts   []*debt
	errands map[string]*errand // by permit id
	paying  bool
	next    time.Time // not before
}

// at is what is owed at a provider. The lock is held.
func (w *owing) at(provider string) *owed {
	if w.providers == nil {
		w.providers = map[string]*owed{}
	}
	if w.providers[provider] == nil {
		w.providers[provider] = &owed{errands: map[string]*errand{}}
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

// answered says that the store has answered an ask for a provider: it can be brought what it is owed.
func (c *Coordinator) answered(provider string) {
	if !c.owing.some.Load() {
		return
	}
	c.owing.Lock()
	defer c.owing.Unlock()
	w := c.owing.at(provider)
	if len(w.debts)+len(w.errands) > 0 && !w.paying && !time.Now().Before(w.next) {
		w.paying = true
		go c.pay(provider)
	}
}

// reachable sees to what no ask may come for. The store has answered.
func (c *Coordinator) reachable() {
	c.outages.Range(func(provider, o any) bool {
		if o.(*outage).tidy(c) {
			c.outages.Delete(provider)
		} else {
			o.(*outage).look(c, provider.(string))
		}
		return true
	})
	c.owing.Lock()
	providers := slices.Collect(maps.Keys(c.owing.providers))
	c.owing.Unlock()
	for _, provider := range providers {
		c.answered(provider)
	}
}

// Leave brings to the store what it can of what is owed, until the context ends. Nobody asks any more.
func (c *Coordinator) Leave(ctx context.Context) {
	for ctx.Err() == nil && (c.away.Load() > 0 || c.owing.some.Load()) {
		c.reachable()
		select {
		case <-ctx.Done():
		case <-time.After(payPause / 10):
		}
	}
}

// Degraded reports whether there are providers whose permits are decided here, without the store, or were until a moment ago.
func (c *Coordinator) Degraded() bool {
	return c.away.Load() > 0 || c.assuming.Load() > 0 || c.cutOff.Load()
}

// owes has debts brought to the store later.
func (c *Coordinator) owes(provider string, debts []*debt) {
	c.owing.Lock()
	defer c.owing.Unlock()
	w := c.owing.at(provider)
	w.debts = append(w.debts, debts...)
	c.owing.note()
}

// pay brings to the store what is owed at a provider. It ends when all is done, or the store gives no answer.
func (c *Coordinator) pay(provider string) {
	c.owing.Lock()
	w := c.owing.at(provider)
	debts := w.debts
	w.debts = nil
	var errands []errand
	for _, e := range w.errands {
		if len(errands) < errandsAtATime && !time.Now().Before(e.next) {
			errands = append(errands, *e)
		}
	}
	c.owing.Unlock()

	ctx := context.Background()
	left := c.charge(ctx, provider, debts)
	done := make([]bool, len(errands))
	for i := range errands {
		done[i] = (len(left) == 0 || len(left) < len(debts)) && errands[i].run(ctx, c, provider)
	}

	c.owing.Lock()
	defer c.owing.Unlock()
	w.debts = append(left, w.debts...)
	for i := range errands {
		switch e := w.errands[errands[i].permitID]; {
		case e == nil: // its time was over, and memory short
		case done[i] && e.edition == errands[i].edition:
			c.forget(w, e)
		case !done[i]:
			e.next, e.pause = time.Now().Add(e.pause), min(2*e.pause, maxErrandPause)
		}
	}
	w.paying, w.next = false, time.Now().Add(payPause)
	c.owing.note()
}

// errandsAtATime bounds how long debts wait for errands.
const errandsAtATime = 100

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
	c.memory.Add(bytesOf(left) - bytesOf(debts))
	return left
}

func bytesOf(debts []*debt) (n int64) {
	for _, d := range debts {
		n += d.bytes
	}
	return n
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
		case o.Verdict == Repeated && debts[i].remembered() && o.Grant.PermitID != debts[i].permitID: // granted to somebody else meanwhile
			debts[i].forgetOnce()
		case o.Verdict == Granted || o.Verdict == Repeated:
			continue
		case o.Verdict == Stale:
			if failed := c.adopt(ctx, provider, charge.KeyID, charge.Pool, &o.Current); failed != nil && !errors.Is(failed, ErrUnknownProvider) {
				err = failed
			}
		case o.Verdict == Late:
			c.learn(o.Now)
		case o.Verdict == Crowded:
			debts[i].crowd |= o.Crowd
		default:
			err = fmt.Errorf("charge what was granted without the store: %w", o.Err)
		}
		again = append(again, debts[i])
	}
	return again, err
}

// remembered reports whether the debt is of a hold that was granted under an idempotency key. (Any other hold is known to the
// store by its id alone.)
func (d *debt) remembered() bool { return d.permitID != "" && d.ask.IdempotencyKey != "" }

// forgetOnce has the debt charged whatever was granted under its idempotency key.
func (d *debt) forgetOnce() {
	ask := *d.ask
	ask.IdempotencyKey, d.ask = "", &ask
}

// charge is that of a debt, under what is known now. Limits that are no more are left out, as are those that were edited to have
// slots, or to have none any more; and nothing is denied.
func (d *debt) charge(c *Coordinator, provider string, policy *policyView) *Charge {
	a := &attempt{ask: d.ask, now: c.now(), policy: policy, crowd: d.crowd}
	r, _ := readReservation(d.reserved) // written here
	k := c.knownAs(provider, policy, r.KeyID, r.Pool)
	a.charge = Charge{
		Provider: provider, KeyID: k.keyID, Pool: k.poolName, Stamps: k.stamps(),
		PermitID: d.permitID, NotAfter: a.now.Later(askLifetime),
	}
	var drained []int64 // of each line
	for i := range r.Lines {
		l := &r.Lines[i]
		t := k.termsOf(l)
		if t == nil || (t.Limit.Kind == KindConcurrency) != (d.slots>>i&1 == 1) && l.Cost > 0 {
			continue
		}
		a.charge.Lines = append(a.charge.Lines, Line{Terms: t, Subject: l.Subject, Model: l.Model, Cost: l.Cost, Window: t.windowAt(a.now)})
		drained = append(drained, 0)
		if d.permitID != "" && t.Limit.Kind != KindConcurrency {
			drained[len(drained)-1] = l.Cost - d.units[i]
		}
	}
	a.name(k, c.names)
	if d.permitID == "" {
		a.charge.PermitID = newPermitID(provider)
	} else {
		left := max(time.Millisecond, time.Duration(d.expires-a.now)*time.Microsecond)
		reserved := a.reservation()
		a.charge.Hold = reserved.hold(left, policy.policy.keep())
	}
	if d.ask != nil {
		a.once()
	}
	if a.charge.Hold != nil && a.charge.Once == nil { // if it has to be sent again, one of them is enough
		id := digest(d.permitID)
		a.charge.Once = &Once{ID: id, Ask: id, Keep: minOnceKept, Body: []byte("{}")}
	}
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		l.Terms = l.Terms.shadowed()
		l.Cost -= drained[i]
		if d.ask != nil && d.permitID == "" { // its cost is part of what its counters hold
			l.Cost = 0
		}
	}
	return &a.charge
}
