package limiter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// permitNote stands in the id of a hold that was granted without the store: what any instance has to know of it to answer
// whoever settles it, wherever the one that granted it is.
type permitNote struct {
	KeyID   string           `json:"k"`
	Model   string           `json:"m,omitempty"`
	Cost    map[string]int64 `json:"c,omitempty"`
	Born    Instant          `json:"b"`
	Expires Instant          `json:"x"`
}

// noteMark is where a note begins in a permit id. It is safe in a URL, and in no id without a note.
const noteMark = "~"

// withNote is the id of a hold with a note of what was granted.
func withNote(id string, a *attempt) string {
	n := permitNote{KeyID: a.ask.KeyID, Model: a.ask.Model, Cost: map[string]int64{}, Born: a.charge.Outcome.Now, Expires: InstantOf(a.decision.Expires)}
	if first := a.charge.Outcome.Grant; first != nil {
		n.Born = first.Now
	}
	for _, c := range a.ask.Cost {
		n.Cost[c.Unit] = c.Amount
	}
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return id + noteMark + base64.RawURLEncoding.EncodeToString(text)
}

// cutNote splits a permit id into what it is kept under and its note, if it has one.
func cutNote(permitID string) (id, note string) {
	id, note, _ = strings.Cut(permitID, noteMark)
	return id, note
}

// maxNote bounds the notes that are read.
const maxNote = 8 << 10

// readNote reads a note as the ask that was granted, which is checked like any other: a note comes from outside.
func readNote(provider, note string) (n permitNote, ask *Ask, err error) {
	text, err := base64.RawURLEncoding.DecodeString(note)
	if err == nil && len(note) <= maxNote {
		err = json.Unmarshal(text, &n)
	}
	if err != nil || n.Born <= 0 || n.Expires < n.Born || n.Expires > n.Born.Later(MaxHoldLife) {
		return n, nil, ErrUnknownPermit
	}
	ask = &Ask{Provider: provider, KeyID: n.KeyID, Model: n.Model, Hold: true}
	for unit, amount := range n.Cost {
		ask.Cost = append(ask.Cost, Cost{unit, amount})
	}
	if ask.Validate() != nil {
		return n, nil, ErrUnknownPermit
	}
	return n, ask, nil
}

// errand is what was asked for about a hold that another instance granted without the store, and has not handed over yet. It
// is done when it has, or given up.
type errand struct {
	permitID string
	status   HoldStatus // HoldOpen: it is only extended
	actual   Costs      // that it is settled to
	hold     Hold       // as it was answered: what is asked again gets the same
	lines    reservation
	giveUp   Instant
	next     time.Time // it is tried,
	pause    time.Duration
	edition  int // one more with each change
}

const (
	maxErrands = 1 << 16
	// errandLife is how long after its hold has expired an errand is kept.
	errandLife = time.Minute
	// Errands that can't be done yet are tried again, at ever longer intervals.
	errandPause, maxErrandPause = 100 * time.Millisecond, 10 * time.Second
)

// amendLater answers for a hold that another instance granted without the store and has not handed over yet, and sees to it
// later. The answer is what closing will come to if all of the reservation can be given back. cause is why it can't be done now.
func (c *Coordinator) amendLater(k *Closing, note string, actual Costs, cause error) (*Hold, *reservation, error) {
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
	e := w.errands[k.PermitID]
	switch {
	case e == nil && len(w.errands) >= maxErrands:
		return nil, nil, fmt.Errorf("%w: %d holds wait to be closed", ErrOverloaded, maxErrands)
	case e == nil:
		e = &errand{permitID: k.PermitID, status: HoldOpen, pause: errandPause, lines: r,
			hold: Hold{Status: HoldOpen, Born: n.Born, Expires: n.Expires}}
		w.errands[k.PermitID] = e
	case e.status != HoldOpen: // it was closed
		h, r := e.hold, e.lines
		return &h, &r, nil
	}
	e.hold.Seen = now
	if k.Status == HoldOpen {
		e.hold.Extend(now, k.TTL)
	} else {
		k.Outcome.Verdict = Granted
		r.Ignored = r.ignoredBy(actual)
		e.status, e.actual, e.lines = k.Status, slices.Clone(actual), r
		e.hold.Status, e.hold.Late, e.hold.Changes = k.Status, now >= e.hold.Expires, make([]LineChange, len(r.Lines))
		for i := range r.Lines {
			if l := &r.Lines[i]; a.charge.Lines[i].Terms.Limit.Kind != KindConcurrency {
				e.hold.Changes[i].Adjusted = l.closed(k.Status, r.Cost, actual) - l.Cost
			}
		}
	}
	e.giveUp, e.edition = max(now, e.hold.Expires).Later(errandLife), e.edition+1
	c.owing.note()
	h := e.hold
	return &h, &r, nil
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
