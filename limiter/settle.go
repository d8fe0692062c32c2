package limiter

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Settlement is what closing a hold did, by the names of its limits. Limits that nothing was done to are left out.
type Settlement struct {
	PermitID  string
	Status    HoldStatus
	Adjusted  map[string]int64 // units charged on top of those reserved; negative: refunded
	Uncharged map[string]int64 // units that were used but not charged, being more than one amount past the limit
	Late      bool             // the hold had expired
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
	return c.close(ctx, permitID, HoldSettled, func(l *reservedLine, asked map[string]int64) int64 { return l.settled(asked, actual) })
}

// Cancel refunds all of a permit's cost that has not drained. Errors are those of Settle, [ErrPermitClosed] after Settle.
func (c *Coordinator) Cancel(ctx context.Context, permitID string) (*Settlement, error) {
	return c.close(ctx, permitID, HoldCancelled, func(*reservedLine, map[string]int64) int64 { return 0 })
}

// ExtendHold has a permit expire no earlier than ttl from now, and at most [MaxHoldLife] after it was acquired. It returns
// when the permit expires now. Errors are those of Settle; one that expired or was closed is [ErrPermitClosed].
func (c *Coordinator) ExtendHold(ctx context.Context, permitID string, ttl time.Duration) (time.Time, error) {
	if ttl < time.Millisecond || ttl > MaxHoldLife {
		return time.Time{}, &InvalidError{[]Fault{{"/ttl_ms", "must be from 1 to " + fmt.Sprint(MaxHoldLife.Milliseconds())}}}
	}
	h, r, err := c.amend(ctx, permitID, &Closing{Status: HoldOpen, TTL: ttl}, func(l *reservedLine, _ map[string]int64) int64 { return l.Cost })
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

// close closes a hold, or finds that it is closed already.
func (c *Coordinator) close(ctx context.Context, permitID string, status HoldStatus, cost costOf) (*Settlement, error) {
	h, r, err := c.amend(ctx, permitID, &Closing{Status: status}, cost)
	if err != nil {
		return nil, err
	}
	return settlement(permitID, status, h, r)
}

// costOf is what a line should have cost, given what the ask named.
type costOf func(l *reservedLine, asked map[string]int64) int64

// amend has the store close or extend a hold, under the documents in force, and returns it as it is then.
func (c *Coordinator) amend(ctx context.Context, permitID string, k *Closing, cost costOf) (*Hold, *reservation, error) {
	k.Provider, k.PermitID = PermitProvider(permitID), permitID
	if k.Provider == "" {
		return nil, nil, ErrUnknownPermit
	}
	h, err := c.store.Hold(ctx, k.Provider, permitID)
	if err != nil {
		return nil, nil, err
	}
	c.learn(h.Seen)
	if h.Status == 0 {
		return nil, nil, ErrUnknownPermit
	}
	r, err := readReservation(h.Body)
	if err != nil || h.Status != HoldOpen {
		return &h, &r, err
	}
	now := h.Seen
	for range maxRounds {
		if err := c.resolveClosing(ctx, k, &r, now); err != nil {
			return nil, nil, err
		}
		for i := range k.Lines {
			l, charged := &k.Lines[i], h.Receipts[i].Units
			if l.Cost = cost(&r.Lines[i], r.Cost); l.Reserved > charged { // a shadow, which was not charged all
				l.Reserved = max(charged, min(l.Cost, l.Reserved))
			}
		}
		c.store.CloseHold(ctx, k)
		o := &k.Outcome
		now = o.Now
		switch o.Verdict {
		case Granted:
			if o.Hold.Status == 0 {
				return nil, nil, ErrUnknownPermit
			}
			return &o.Hold, &r, nil
		case Stale:
			if err := c.adopt(k.Provider, r.KeyID, r.Pool, &o.Current); err != nil {
				return nil, nil, err
			}
		case Late:
		default:
			return nil, nil, o.Err
		}
	}
	return nil, nil, fmt.Errorf("%w: the documents change faster than this hold can follow", ErrOverloaded)
}

// resolveClosing fills in the lines of a hold: the counters as they are now. One that is no more (its limit is gone, or
// means something else now) has no terms.
func (c *Coordinator) resolveClosing(ctx context.Context, closing *Closing, r *reservation, now Instant) error {
	policy, err := c.policy(ctx, closing.Provider)
	if err != nil {
		return err
	}
	k := known{policy: policy}
	k.key, _ = c.entries.Get(DocID{closing.Provider, KeyEntry, r.KeyID})
	if r.Pool != "" {
		k.pool, _ = c.entries.Get(DocID{closing.Provider, PoolEntry, r.Pool})
	}
	closing.KeyID, closing.Pool, closing.Stamps, closing.Lines = r.KeyID, r.Pool, k.stamps(), closing.Lines[:0]
	for i := range r.Lines {
		l := &r.Lines[i]
		line := ClosingLine{Subject: l.Subject, Model: l.Model, Reserved: l.Cost}
		if t := k.termsOf(l); t != nil && t.Counter == l.Counter {
			line.Terms, line.Window = t, t.windowAt(now)
		}
		closing.Lines = append(closing.Lines, line)
	}
	return nil
}

// termsOf are those in force of the limit that a line was reserved under, or nil.
func (k known) termsOf(l *reservedLine) *Terms {
	i := slices.IndexFunc(k.policy.policy.Limits, func(limit *Limit) bool { return limit.Name == l.Limit })
	if i < 0 {
		return nil
	}
	return k.terms(i)
}

// settlement is the answer that a closed hold gives to whoever wants it to have a status.
func settlement(permitID string, want HoldStatus, h *Hold, r *reservation) (*Settlement, error) {
	if h.Status != want {
		return nil, fmt.Errorf("%w: it was %s", ErrPermitClosed, h.Status)
	}
	s := &Settlement{PermitID: permitID, Status: want, Adjusted: map[string]int64{}, Uncharged: map[string]int64{}, Late: h.Late}
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
