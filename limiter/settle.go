package limiter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settlement is what closing a hold did, by the names of its limits. Limits that nothing was done to are left out.
type Settlement struct {
	PermitID  string
	Status    HoldStatus
	Adjusted  map[string]int64 // units charged on top of those reserved; negative: refunded
	Uncharged map[string]int64 // units that were used but not charged, being more than one amount past the limit
	Late      bool             // the hold had expired
	// IgnoredUnits are those of the settlement that no limit of the permit counts.
	IgnoredUnits []string
	Repeated     bool // it was closed before, and this is the answer to an earlier call
}

// Settle replaces the reserved cost of a permit by the actual one. Of units that are not named the reservation stays, and
// 0 refunds it. What is less is refunded as far as it has not drained; what is more is charged even past the limit, up to
// one more amount. Settling again returns the first answer.
//
// Errors: [ErrInvalid]; [ErrUnknownPermit]; [ErrPermitClosed] after Cancel; [ErrStoreUnavailable] and [ErrOverloaded],
// after which it may be tried again.
func (c *Coordinator) Settle(ctx context.Context, permitID string, actual Costs) (*Settlement, error) {
	if err := actual.validate(); err != nil {
		return nil, err
	}
	return c.close(ctx, permitID, HoldSettled, actual)
}

// Cancel refunds all of a permit's cost that has not drained. Errors are those of Settle, [ErrPermitClosed] after Settle.
func (c *Coordinator) Cancel(ctx context.Context, permitID string) (*Settlement, error) {
	return c.close(ctx, permitID, HoldCancelled, nil)
}

// ExtendHold has a permit expire no earlier than ttl from now, and at most [MaxHoldLife] after it was acquired. It returns
// when the permit expires now. Errors are those of Settle; one that expired or was closed is [ErrPermitClosed].
func (c *Coordinator) ExtendHold(ctx context.Context, permitID string, ttl time.Duration) (time.Time, error) {
	if ttl < time.Millisecond || ttl > MaxHoldLife {
		return time.Time{}, &InvalidError{[]Fault{{"/ttl_ms", "must be from 1 to " + fmt.Sprint(MaxHoldLife.Milliseconds())}}}
	}
	h, r, err := c.amend(ctx, permitID, &Closing{Status: HoldOpen, TTL: ttl}, nil)
	switch {
	case err != nil:
		return time.Time{}, err
	case h.Status != HoldOpen:
		_, err := settlement(permitID, HoldOpen, h, r)
		return time.Time{}, err
	case h.Expires <= h.Seen:
		return time.Time{}, fmt.Errorf("%w: it expired", ErrPermitClosed)
	}
	return h.Expires.Time(), nil
}

// close closes a hold, or finds that it is closed already. actual is what a settlement names.
func (c *Coordinator) close(ctx context.Context, permitID string, status HoldStatus, actual Costs) (*Settlement, error) {
	k := &Closing{Status: status}
	h, r, err := c.amend(ctx, permitID, k, actual)
	if err != nil {
		return nil, err
	}
	s, err := settlement(permitID, status, h, r)
	if s != nil {
		s.Repeated = k.Outcome.Verdict != Granted
	}
	return s, err
}

// amend has a hold closed or extended, where its record is, and returns it as it is then.
func (c *Coordinator) amend(ctx context.Context, permitID string, k *Closing, actual Costs) (*Hold, *reservation, error) {
	id, note := cutNote(permitID)
	k.Provider, k.PermitID = PermitProvider(id), id
	if k.Provider == "" {
		return nil, nil, ErrUnknownPermit
	}
	ctx, cancel := c.patient(ctx, time.Now(), 1)
	defer cancel()
	if note == "" || c.makeStandIn == nil { // where nothing is granted without the store, nobody has a hold to tell of
		return c.amendAt(ctx, place{c.store, c.policy, nil}, k, actual)
	}
	var o *outage
	if at, ok := c.outages.Load(k.Provider); ok {
		o = at.(*outage)
		if h, r, err, here := o.amend(ctx, c, k, actual); here {
			return h, r, err
		}
	}
	h, r, err := c.amendAt(ctx, place{c.store, c.policy, nil}, k, actual)
	if errors.Is(err, ErrUnknownPermit) || errors.Is(err, ErrStoreUnavailable) {
		h, r, err = c.amendLater(ctx, o, k, note, actual, err)
	}
	if o != nil && err == nil {
		o.follow(c, k, h, actual)
	}
	return h, r, err
}

// place is where a hold is kept: a store, where the policy that it goes by is read, and how the terms of its limits stand
// there (nil: as they are). Where they stand otherwise, no documents are.
type place struct {
	store  Store
	policy func(ctx context.Context, provider string) (*policyView, error)
	terms  func(*Terms) *Terms
}

// amendAt has a store close or extend a hold, under the documents in force.
func (c *Coordinator) amendAt(ctx context.Context, at place, k *Closing, actual Costs) (*Hold, *reservation, error) {
	h, err := at.store.Hold(ctx, k.Provider, k.PermitID)
	if err != nil {
		return nil, nil, err
	}
	if at.terms == nil {
		c.learn(h.Seen)
	}
	if h.Status == 0 {
		return nil, nil, ErrUnknownPermit
	}
	r, err := readReservation(h.Body)
	if err != nil || h.Status != HoldOpen {
		return &h, &r, err
	}
	if r.Ignored = r.ignoredBy(actual); len(r.Ignored) > 0 {
		k.Body, k.Shared = r.body()
	}
	now := h.Seen
	for range maxRounds {
		if err := c.resolveClosing(ctx, at, k, &h, &r, now, actual); err != nil {
			return nil, nil, err
		}
		at.store.CloseHold(ctx, k)
		o := &k.Outcome
		now = o.Now
		switch o.Verdict {
		case Granted:
			if o.Hold.Status == 0 {
				return nil, nil, ErrUnknownPermit
			}
			if bytes.Equal(o.Hold.Body, h.Body) {
				r.Ignored = nil
			} else { // with what was ignored, by this call or one that came before it
				r, err = readReservation(o.Hold.Body)
			}
			return &o.Hold, &r, err
		case Stale:
			if err := c.adopt(ctx, k.Provider, k.KeyID, k.Pool, &o.Current); err != nil && !errors.Is(err, ErrUnknownProvider) {
				return nil, nil, err
			}
		case Late:
		default:
			return nil, nil, o.Err
		}
	}
	return nil, nil, fmt.Errorf("%w: the documents change faster than this hold can follow", ErrOverloaded)
}

// resolveClosing fills in the lines of a hold: the counters as they are now, and what is to be changed. One that is no more
// has no terms.
func (c *Coordinator) resolveClosing(
	ctx context.Context, at place, closing *Closing, h *Hold, r *reservation, now Instant, actual Costs,
) error {
	policy, err := at.policy(ctx, closing.Provider)
	if errors.Is(err, ErrUnknownProvider) { // deleted; the hold is closed all the same
		var deleted Record
		deleted, err = at.store.Load(ctx, DocID{Provider: closing.Provider})
		policy = &policyView{record: deleted, policy: &Policy{}}
	}
	if err != nil {
		return err
	}
	k := c.knownAs(closing.Provider, policy, r.KeyID, r.Pool)
	closing.KeyID, closing.Pool, closing.Once = k.keyID, k.poolName, r.Once
	closing.Stamps, closing.Lines = k.stamps(), closing.Lines[:0]
	for i := range r.Lines {
		reserved, receipt := &r.Lines[i], h.Receipts[i]
		l := ClosingLine{Subject: reserved.Subject, Model: reserved.Model, Reserved: reserved.Cost}
		l.Cost = reserved.closed(closing.Status, r.Cost, actual)
		if t := k.termsOf(reserved); t != nil {
			l.Terms, l.Window = t, t.windowAt(now)
			if t.Counter != reserved.Counter && (at.terms == nil || localCounter(t.Counter) != localCounter(reserved.Counter)) { // it was begun afresh: nothing can be given back
				l.Cost = max(l.Cost, l.Reserved)
			}
		} else if t := k.termsOfGone(reserved); t != nil && (t.Limit.Kind != KindQuota || now < receipt.Mark) {
			l.Terms, l.Window, l.Cost = t, Window{End: receipt.Mark}, min(l.Cost, l.Reserved)
		}
		if l.Reserved > receipt.Units { // a shadow, which was not charged all
			l.Reserved = max(receipt.Units, min(l.Cost, l.Reserved))
		}
		closing.Lines = append(closing.Lines, l)
	}
	if at.terms != nil {
		closing.Stamps = Stamps{}
		for i := range closing.Lines {
			if l := &closing.Lines[i]; l.Terms != nil {
				l.Terms = at.terms(l.Terms)
			}
		}
	}
	return nil
}

// termsOf are those in force of the limit that a line was reserved under, nil if there are none. Where it was begun afresh it
// must still count the same units, for the same key, pool or model.
func (k known) termsOf(l *reservedLine) *Terms {
	i := slices.IndexFunc(k.policy.policy.Limits, func(limit *Limit) bool { return limit.Name == l.Limit })
	if i < 0 {
		return nil
	}
	t := k.termsFor(i, l.Subject)
	same := t.Limit.Scope == l.Scope && t.Limit.PerModel == (l.Model != "") && slices.Equal(t.Limit.Counts, l.Counts)
	if t.Counter != l.Counter && !same {
		return nil
	}
	return t
}

// termsOfGone are those of a counter whose limit the policy does not have any more, but may get back as it was: what was
// reserved can be given back, and nothing charged on top. nil if there is nothing of the kind.
func (k known) termsOfGone(l *reservedLine) *Terms {
	track := k.policy.record.Tracks[l.Limit]
	if track.Gone == 0 {
		return nil
	}
	kind, scope := track.meaning()
	var owner *entryView
	if l.Subject != Other {
		owner = k.owner(scope)
	}
	t := k.policy.newTerms(&Limit{Name: l.Limit, Kind: kind, Mode: Enforce}, "", owner.overriding(l.Limit, scope))
	period, ok := strings.CutPrefix(l.Counter, t.Counter)
	period, reset := strings.CutSuffix(period, owner.resetSuffix(l.Limit))
	if !ok || !reset || period != "" && period[0] != '.' || strings.Contains(period, "~") { // an earlier one, which never comes back
		return nil
	}
	t.Counter = l.Counter
	return t
}

// settlement is the answer that a closed hold gives to whoever wants it to have a status.
func settlement(permitID string, want HoldStatus, h *Hold, r *reservation) (*Settlement, error) {
	if h.Status != want {
		return nil, fmt.Errorf("%w: it was %s", ErrPermitClosed, h.Status)
	}
	s := &Settlement{
		PermitID: permitID, Status: want, Late: h.Late, IgnoredUnits: r.Ignored,
		Adjusted: map[string]int64{}, Uncharged: map[string]int64{},
	}
	for i, ch := range h.Changes {
		if ch.Adjusted != 0 {
			s.Adjusted[r.Lines[i].Limit] = ch.Adjusted
		}
		if ch.Uncharged != 0 {
			s.Uncharged[r.Lines[i].Limit] = ch.Uncharged
		}
	}
	return s, nil
}
