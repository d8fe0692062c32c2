package limiter

import (
	"encoding/json"
	"fmt"
	"slices"
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
}

// Hold is the record of a permit whose actual cost is not known yet.
type Hold struct {
	Status   HoldStatus
	Seen     Instant // the store's time when it was read
	Born     Instant // and when it was charged
	Expires  Instant
	Keep     time.Duration
	Body     []byte
	Receipts []Receipt    // of the charge's lines, in order
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

// reservation is the body of a hold: what settling has to know of the ask and of the limits as they were.
type reservation struct {
	KeyID string           `json:"key_id"`
	Pool  string           `json:"pool,omitempty"`
	Once  string           `json:"once,omitempty"`
	Cost  map[string]int64 `json:"cost,omitempty"`
	Lines []reservedLine   `json:"lines"`
	// Ignored are the units that it was settled to and no line counts.
	Ignored []string `json:"ignored,omitempty"`
}

type reservedLine struct {
	Limit   string           `json:"limit"`
	Counter string           `json:"counter"`
	Scope   Scope            `json:"scope"`
	Subject string           `json:"subject,omitempty"`
	Model   string           `json:"model,omitempty"`
	Cost    int64            `json:"cost,omitempty"`
	Counts  map[string]int64 `json:"counts"`
	Reserve map[string]int64 `json:"reserve,omitempty"` // where it differs from Counts
}

// reservation is what a charge reserves.
func (a *attempt) reservation() reservation {
	r := reservation{KeyID: a.charge.KeyID, Pool: a.charge.Pool, Cost: map[string]int64{}}
	if a.ask.IdempotencyKey != "" {
		r.Once = a.ask.onceID()
	}
	for _, c := range a.ask.Cost {
		r.Cost[c.Unit] = c.Amount
	}
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		limit := l.Terms.Limit
		line := reservedLine{Limit: limit.Name, Counter: l.Terms.Counter, Scope: limit.Scope, Subject: l.Subject, Model: l.Model, Cost: l.Cost, Counts: limit.Counts.byUnit()}
		if !slices.Equal(limit.Counts, limit.ReserveCounts) {
			line.Reserve = limit.ReserveCounts.byUnit()
		}
		r.Lines = append(r.Lines, line)
	}
	return r
}

// ignoredBy are the units of a settlement that no line counts.
func (r *reservation) ignoredBy(actual Costs) (units []string) {
	for _, c := range actual {
		if !slices.ContainsFunc(r.Lines, func(l reservedLine) bool { return l.counts(c.Unit) }) {
			units = append(units, c.Unit)
		}
	}
	return units
}

// counts reports whether a unit was weighed when the line was reserved, or is when it is settled.
func (l *reservedLine) counts(unit string) bool {
	_, counted := l.Counts[unit]
	_, reserved := l.Reserve[unit]
	return counted || reserved
}

// closed is what a line should have cost when its hold is closed, or extended, given what the ask and a settlement name.
func (l *reservedLine) closed(as HoldStatus, asked map[string]int64, actual Costs) int64 {
	switch as {
	case HoldSettled:
		return l.settled(asked, actual)
	case HoldCancelled:
		return 0
	}
	return l.Cost
}

// settled is what a line should have cost, given the actual units: those that are not named keep what was reserved.
func (l *reservedLine) settled(asked map[string]int64, actual Costs) int64 {
	reserve := l.Reserve
	if reserve == nil {
		reserve = l.Counts
	}
	named, total := false, int64(0)
	for _, c := range actual {
		if l.counts(c.Unit) {
			named = true
			total = addUnits(total, mulUnits(c.Amount, l.Counts[c.Unit]))
		}
	}
	if !named {
		return l.Cost
	}
	for unit, weight := range reserve {
		n, asks := asked[unit]
		if !asks && unit == DefaultUnit {
			n = 1
		}
		if _, settles := actual.of(unit); !settles {
			total = addUnits(total, mulUnits(n, weight))
		}
	}
	return total
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

// body is a reservation as a store keeps it.
func (r reservation) body() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // of maps, slices, strings and numbers
	}
	return text
}

func readReservation(body []byte) (r reservation, err error) {
	if err = json.Unmarshal(body, &r); err != nil {
		err = fmt.Errorf("%w: a stored hold can't be read: %w", ErrStoreUnavailable, err)
	}
	return r, err
}

// Extend has the hold expire no earlier than ttl from now, up to [MaxHoldLife] after it began. One that is closed or has
// expired stays as it is.
func (h *Hold) Extend(now Instant, ttl time.Duration) {
	if h.Status == HoldOpen && h.Expires > now {
		h.Expires = max(h.Expires, min(now.Later(ttl), h.Born.Later(MaxHoldLife)))
	}
}
