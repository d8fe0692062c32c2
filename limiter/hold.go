package limiter

import (
	"strings"
	"time"
)

// HoldStatus is what became of a hold.
type HoldStatus uint8

// The states of a hold. The zero HoldStatus is one that is not kept, or not any more.
const (
	HoldOpen HoldStatus = iota + 1
	HoldSettled
	HoldCancelled
)

// String is the state as users see it.
func (s HoldStatus) String() string {
	return [...]string{"unknown", "open", "settled", "cancelled"}[s]
}

const (
	// MaxHoldLife bounds a hold that is extended, from its start.
	MaxHoldLife = 24 * time.Hour
	// minKept is how long at least the record of a hold is kept after the hold expired, so that it can be settled late.
	minKept = 10 * time.Minute
)

// keep is for how long the record of a hold is kept after it expired.
func (p *Policy) keep() time.Duration { return max(p.HoldTTL, minKept) }

// NewHold asks a store to keep a record of a charge if it is granted.
type NewHold struct {
	TTL  time.Duration // until the hold expires
	Keep time.Duration // for how long after that the record is kept
	Body []byte        // what was reserved; only this package reads it
	// Shared is how much of the beginning of Body is the same for all charges of the same limits, so that a store may keep it
	// once.
	Shared int
}

// Hold is the record of a permit whose actual cost is not known yet.
type Hold struct {
	Status   HoldStatus
	Seen     Instant // the store's time when it was read
	Born     Instant // and when it was charged
	Expires  Instant
	Keep     time.Duration
	Body     []byte
	Receipts []Receipt    // of the charge's lines, in order, while it is open
	Changes  []LineChange // of those lines, when it was closed
	Late     bool         // it was closed after it had expired
}

// LineChange is what closing a hold did to one counter: units charged on top, or, negative, refunded; and those that
// should have been charged but went beyond what a counter may owe.
type LineChange struct{ Adjusted, Uncharged int64 }

// Closing asks a store to close a hold.
type Closing struct {
	Provider string
	PermitID string
	KeyID    string
	Pool     string
	Once     string        // of a grant that was to be made once: its ID, remembered for as long as the hold is extended
	Stamps   Stamps        // what the lines were resolved under
	Status   HoldStatus    // what it becomes; HoldOpen extends it
	TTL      time.Duration // of an extension: from now
	Body     []byte        // of one that is closed, in place of what it has; nil: that stays
	Shared   int           // as of NewHold
	Lines    []ClosingLine // of the hold's lines, in order

	Outcome ClosingOutcome
}

// ClosingLine is one of a hold's lines and what it should have cost.
type ClosingLine struct {
	Terms          *Terms // nil: the counter is no more
	Subject, Model string
	Window         Window
	Cost           int64 // the actual one
	Reserved       int64 // what the ask was charged, or should have been
}

// ClosingOutcome is a store's answer to a closing. With Granted the hold is closed, by this call or an earlier one, or it
// is not kept.
type ClosingOutcome struct {
	Verdict Verdict
	Now     Instant
	Err     error
	Current Current // when Stale
	Hold    Hold    // as it is now, when Granted
}

// Slots reports whether the line is one of concurrency: its slots are given back, or kept for longer.
func (l *ClosingLine) Slots() bool { return l.Terms != nil && l.Terms.Limit.Kind == KindConcurrency }

// Change applies the difference between a line's actual and its reserved cost to an advanced state: a refund of what has
// not drained, or a charge of up to one more amount past the limit.
func (l *ClosingLine) Change(s State, r Receipt, now Instant) (State, LineChange) {
	switch extra := l.Cost - l.Reserved; {
	case extra < 0:
		s, n := l.Terms.Refund(s, r, -extra, now)
		return s, LineChange{Adjusted: -n}
	case extra > 0:
		charged := max(0, min(extra, l.Terms.Overdraft()-s.Used))
		return l.Terms.Charge(s, charged), LineChange{charged, extra - charged}
	}
	return s, LineChange{}
}

// Overdraft is how far settling may take a counter: one amount past the limit.
func (t *Terms) Overdraft() int64 {
	if t.Limit.Mode == Shadow {
		return t.Most()
	}
	return t.Limit.Burst + t.Limit.Amount
}

// PermitProvider is the provider that a permit id names, or "" where it is not one.
func PermitProvider(id string) string {
	const random = 1 + 22 // "_" and 128 bits in base64url
	id, _ = cutNote(id)
	rest, ok := strings.CutPrefix(id, "p_")
	if !ok || len(rest) <= random || rest[len(rest)-random] != '_' {
		return ""
	}
	provider, tail := rest[:len(rest)-random], rest[len(rest)-random+1:]
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if !ValidName(provider) || strings.ContainsFunc(tail, other) {
		return ""
	}
	return provider
}

// Extend has the hold expire no earlier than ttl from now, up to [MaxHoldLife] after it began. One that is closed or has
// expired stays as it is.
func (h *Hold) Extend(now Instant, ttl time.Duration) {
	if h.Status == HoldOpen && h.Expires > now {
		h.Expires = max(h.Expires, min(now.Later(ttl), h.Born.Later(MaxHoldLife)))
	}
}
