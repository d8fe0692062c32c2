package limiter

import (
	"context"
	"fmt"
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
	provider := PermitProvider(permitID)
	if provider == "" {
		return time.Time{}, ErrUnknownPermit
	}
	h, err := c.store.ExtendHold(ctx, provider, permitID, ttl)
	switch {
	case err != nil:
		return time.Time{}, err
	case h.Status == 0:
		return time.Time{}, ErrUnknownPermit
	case h.Status != HoldOpen:
		return time.Time{}, fmt.Errorf("%w: it was %s", ErrPermitClosed, h.Status)
	case h.Expires <= h.Seen:
		return time.Time{}, fmt.Errorf("%w: it expired", ErrPermitClosed)
	}
	return h.Expires.Time(), nil
}

// close closes a hold, or finds that it is closed already.
func (c *Coordinator) close(ctx context.Context, permitID string, status HoldStatus, cost func(*reservedLine, map[string]int64) int64) (*Settlement, error) {
	provider := PermitProvider(permitID)
	if provider == "" {
		return nil, ErrUnknownPermit
	}
	h, err := c.store.Hold(ctx, provider, permitID)
	if err != nil {
		return nil, err
	}
	c.learn(h.Seen)
	for range maxRounds {
		if h.Status == 0 {
			return nil, ErrUnknownPermit
		}
		r, err := readReservation(h.Body)
		if err != nil {
			return nil, err
		}
		if h.Status != HoldOpen {
			return settlement(permitID, status, &h, &r)
		}
		k, err := c.closing(ctx, provider, permitID, &h, &r)
		if err != nil {
			return nil, err
		}
		k.Status = status
		for i := range k.Lines {
			k.Lines[i].Cost = cost(&r.Lines[i], r.Cost)
		}
		c.store.CloseHold(ctx, k)
		switch o := &k.Outcome; o.Verdict {
		case Granted:
			h = o.Hold
		case Stale:
			if err := c.adopt(provider, r.KeyID, r.Pool, &o.Current); err != nil {
				return nil, err
			}
			h.Seen = o.Now
		case Late:
			h.Seen = o.Now
		default:
			return nil, o.Err
		}
	}
	return nil, fmt.Errorf("%w: the documents change faster than this hold can follow", ErrOverloaded)
}

// closing resolves the lines of a hold to the counters as they are now. One that is no more (its limit is gone, or means
// something else now) has no terms.
func (c *Coordinator) closing(ctx context.Context, provider, permitID string, h *Hold, r *reservation) (*Closing, error) {
	policy, err := c.policy(ctx, provider)
	if err != nil {
		return nil, err
	}
	k := known{policy: policy}
	k.key, _ = c.entries.Get(DocID{provider, KeyEntry, r.KeyID})
	if r.Pool != "" {
		k.pool, _ = c.entries.Get(DocID{provider, PoolEntry, r.Pool})
	}
	closing := &Closing{Provider: provider, PermitID: permitID, KeyID: r.KeyID, Pool: r.Pool, Stamps: k.stamps()}
	for i := range r.Lines {
		l := &r.Lines[i]
		line := ClosingLine{Subject: l.Subject, Model: l.Model, Reserved: l.Cost}
		if t := k.terms(l); t != nil && t.Counter == l.Counter {
			line.Terms, line.Window = t, t.windowAt(h.Seen)
		}
		closing.Lines = append(closing.Lines, line)
	}
	return closing, nil
}

// terms are those in force of the limit that a line was reserved under, or nil.
func (k known) terms(l *reservedLine) *Terms {
	for i, limit := range k.policy.policy.Limits {
		if limit.Name != l.Limit {
			continue
		}
		switch {
		case limit.Scope == ScopeKey:
			return k.key.terms(k.policy, i)
		case limit.Scope == ScopePool && strings.HasPrefix(l.Subject, poolSubject("")):
			return k.pool.terms(k.policy, i)
		}
		return k.policy.terms[i]
	}
	return nil
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
