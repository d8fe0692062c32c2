package limiter

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/permitd/permitd/limiter/internal/size"
)

// errand is what was asked for about a hold that another instance granted without the store, and has not handed over yet. It
// is done when it has, or given up.
type errand struct {
	permitID string
	status   HoldStatus // HoldOpen: it is only extended
	actual   Costs      // what it is settled to
	hold     Hold       // as it was answered: what is asked again gets the same
	reserved packed     // the reservation
	giveUp   Instant
	next     time.Time // it is tried,
	pause    time.Duration
	edition  int   // one more with each change
	bytes    int64 // taken for it, beside what the reservation shares
}

const (
	// errandLife is how long after its hold has expired an errand is kept.
	errandLife = time.Minute
	// Errands that can't be done yet are tried again, at ever longer intervals.
	errandPause, maxErrandPause = 100 * time.Millisecond, 10 * time.Second
)

// amendLater answers for a hold that another instance granted without the store and has not handed over yet, and sees to it
// later. The answer is what closing will come to if all of the reservation can be given back. cause is why it can't be done now.
// One that was closed in the outage o, which may be nil, is answered as it was there.
func (c *Coordinator) amendLater(
	ctx context.Context, o *outage, k *Closing, note string, actual Costs, cause error,
) (*Hold, *reservation, error) {
	if o != nil && !c.owing.minds(k) {
		if h, r, ok := o.closed(ctx, k); ok {
			return h, r, nil
		}
	}
	n, ask, err := readNote(k.Provider, note)
	now := c.now()
	policy := c.lastKnown(k.Provider)
	switch {
	case err != nil:
		return nil, nil, err
	case policy == nil || policy.policy.OnStoreFailure == FailDeny:
		return nil, nil, cause
	case n.Born > now.Later(askLifetime) || now > n.Expires.Later(policy.policy.keep()):
		return nil, nil, ErrUnknownPermit
	}
	a, r := c.reserved(policy, ask)

	c.owing.Lock()
	defer c.owing.Unlock()
	w := c.owing.at(k.Provider)
	defer c.owing.note()
	e := w.errands[k.PermitID]
	if e == nil {
		e = &errand{permitID: k.PermitID, status: HoldOpen, pause: errandPause, hold: Hold{Status: HoldOpen, Born: n.Born, Expires: n.Expires}}
		if !c.keepErrand(w, e, &r) {
			return nil, nil, fmt.Errorf("%w: no memory is free for closing a hold that another instance granted", ErrOverloaded)
		}
	} else if e.status != HoldOpen { // it was closed
		r, err := readReservation(e.reserved.body())
		h := e.hold
		return &h, &r, err
	}
	e.hold.Seen = now
	if k.Status == HoldOpen {
		e.hold.Extend(now, k.TTL)
	} else {
		k.Outcome.Verdict = Granted
		r.Ignored = r.ignoredBy(actual)
		c.closeErrand(e, k.Status, actual, a, &r)
	}
	e.giveUp, e.edition = max(now, e.hold.Expires).Later(errandLife), e.edition+1
	h := e.hold
	return &h, &r, nil
}

// minds reports whether there is an errand about a hold.
func (w *owing) minds(k *Closing) bool {
	w.Lock()
	defer w.Unlock()
	return w.providers[k.Provider] != nil && w.providers[k.Provider].errands[k.PermitID] != nil
}

// keepErrand keeps an errand about what is reserved, if there is room for it. The lock is held.
func (c *Coordinator) keepErrand(w *owed, e *errand, r *reservation) bool {
	body, shared := r.body()
	room := int64(unsafe.Sizeof(LineChange{}))*int64(len(r.Lines)) + size.Alloc(len(body)) // when it is closed, and nobody shares the body
	e.reserved.own = string(body[shared:])
	n := e.resized()
	if !c.memory.Take(n + room) {
		return false
	}
	e.reserved = c.memory.keep(body, shared)
	c.memory.Add(-room)
	w.errands[e.permitID] = e
	return true
}

// resized is by how many bytes an errand has grown.
func (e *errand) resized() int64 {
	was := e.bytes
	e.bytes = size.Alloc(int(unsafe.Sizeof(*e))) + size.Text(e.permitID) + size.MapEntry(int(unsafe.Sizeof(e.permitID)+unsafe.Sizeof(e))) +
		size.Text(e.reserved.own) + size.Alloc(int(unsafe.Sizeof(LineChange{}))*len(e.hold.Changes)) + e.actual.bytes()
	return e.bytes - was
}

// closeErrand has an errand close its hold, as if all of the reservation could be given back. The lock is held.
func (c *Coordinator) closeErrand(e *errand, status HoldStatus, actual Costs, a *attempt, r *reservation) {
	e.status, e.actual = status, slices.Clone(actual)
	e.hold.Status, e.hold.Late, e.hold.Changes = status, e.hold.Seen >= e.hold.Expires, make([]LineChange, len(r.Lines))
	for i := range r.Lines {
		if l := &r.Lines[i]; a.charge.Lines[i].Terms.Limit.Kind != KindConcurrency {
			e.hold.Changes[i].Adjusted = l.closed(status, r.Cost, actual) - l.Cost
		}
	}
	was := e.reserved.shared
	e.reserved = c.memory.keep(r.body()) // the policy may have changed since the errand began
	c.memory.Release(was)
	c.memory.Add(e.resized())
}

// forget drops an errand. The lock is held.
func (c *Coordinator) forget(w *owed, e *errand) {
	delete(w.errands, e.permitID)
	c.memory.Release(e.reserved.shared)
	c.memory.Add(-e.bytes)
}

// run does an errand. It returns false when that has to be tried again.
func (e *errand) run(ctx context.Context, c *Coordinator, provider string) bool {
	k := &Closing{Provider: provider, PermitID: e.permitID, Status: e.status}
	if e.status == HoldOpen {
		k.TTL = time.Duration(e.hold.Expires-c.now()) * time.Microsecond
		if k.TTL < time.Millisecond {
			return true
		}
	}
	_, _, err := c.amendAt(ctx, place{c.store, c.policy, nil}, k, e.actual)
	return err == nil || c.now() > e.giveUp
}

// sweepErrandsStep is how many errands are looked at when memory is short.
const sweepErrandsStep = 64

// sweepErrands drops errands whose time is over. Nobody waits for the lock, which is held where bytes are taken.
func (c *Coordinator) sweepErrands() {
	if !c.owing.TryLock() {
		return
	}
	defer c.owing.Unlock()
	defer c.owing.note()
	now, looked := c.now(), 0
	for _, w := range c.owing.providers {
		for _, e := range w.errands { // begins anywhere
			if now > e.giveUp {
				c.forget(w, e)
			}
			if looked++; looked == sweepErrandsStep {
				return
			}
		}
	}
}
