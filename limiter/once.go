package limiter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minOnceKept is how long at least a grant is remembered under its idempotency key.
const minOnceKept = 10 * time.Minute

// Once asks a store to grant a charge only once: a later one with the same ID is answered with the first.
type Once struct {
	ID   string        // of the caller and its idempotency key, in 32 hex digits
	Ask  string        // a digest of what was asked, in 32 hex digits
	Keep time.Duration // how long a grant is remembered; denials are not
	// Body is what the answer is made from, the same for two asks that are charged the same. Only this package reads it.
	// nil: remember nothing.
	Body []byte
	// Shared is how much of the beginning of Body is the same for all charges of the same limits, so that a store may keep it
	// once.
	Shared int
}

// Grant is what a store remembers of a charge that was granted under a [Once].
type Grant struct {
	Now      Instant // the store's time of the decision
	PermitID string  // of the charge, if it has a hold
	Ask      string
	Body     []byte
	Lines    []GrantLine // in order
}

// GrantLine is how a line stood after it was charged, and whether its cost fit. Of the state a store keeps Used, and Part or Mark:
// one of them matters for each kind of limit, and it may mix them up.
type GrantLine struct {
	State State
	Fits  bool
}

// digest is 32 hex digits that stand for some strings.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// onceID stands for the caller and its idempotency key.
func (a *Ask) onceID() string { return digest(a.Caller, a.IdempotencyKey) }

// digest stands for what is asked, whatever the order of units.
func (a *Ask) digest() string {
	parts := []string{a.Provider, a.KeyID, a.Model, strconv.FormatBool(a.Hold), a.TTL.String()}
	costs := slices.Clone(a.Cost)
	slices.SortFunc(costs, func(x, y Cost) int { return strings.Compare(x.Unit, y.Unit) })
	for _, c := range costs {
		parts = append(parts, c.Unit, strconv.FormatInt(c.Amount, 10))
	}
	return digest(parts...)
}

// once asks for the charge to be granted once, if the ask has an idempotency key.
func (a *attempt) once() {
	a.charge.Once = nil
	if a.ask.IdempotencyKey == "" || a.ask.DryRun || a.usage {
		return
	}
	c := &a.charge
	c.Once = &Once{ID: a.ask.onceID(), Ask: a.ask.digest()}
	if a.refusal != nil { // an earlier one may have been granted
		return
	}
	b := grantBody{Pool: c.Pool, Revision: a.policy.record.Revision, Ignored: a.ignored, Units: a.unknownUnits, Model: a.unknownModel}
	c.Once.Keep = minOnceKept
	if c.Hold != nil {
		b.TTL = c.Hold.TTL
		c.Once.Keep = max(c.Once.Keep, c.Hold.TTL)
	}
	counters := make([]string, 0, 3*len(c.Lines))
	b.Lines = make([]grantedLine, len(c.Lines))
	for i := range c.Lines {
		b.Lines[i] = c.Lines[i].granted()
		counters = append(counters, c.Lines[i].Terms.Counter, c.Lines[i].Subject, c.Lines[i].Model)
	}
	b.Counters = digest(counters...)
	c.Once.Body, c.Once.Shared = b.body()
}

// repeat is the decision of an earlier ask with the same idempotency key.
func (a *attempt) repeat(g *Grant) (*Decision, error) {
	if g.Ask != a.ask.digest() {
		return nil, ErrIdempotencyMismatch
	}
	b, ok := readGrantBody(g.Body)
	if !ok || len(b.Lines) != len(g.Lines) {
		return nil, fmt.Errorf("%w: a stored grant can't be read", ErrStoreUnavailable)
	}
	d := &Decision{
		Provider: a.ask.Provider, KeyID: a.ask.KeyID, Pool: b.Pool, Revision: b.Revision,
		IgnoredUnits: b.Ignored, UnknownUnits: b.Units, UnknownModel: b.Model, Replayed: true,
	}
	if b.TTL > 0 {
		d.PermitID, d.Expires = g.PermitID, g.Now.Later(b.TTL).Time()
	}
	c := Charge{Outcome: Outcome{Verdict: Granted, Now: g.Now}}
	for i, l := range b.Lines {
		limit := &Limit{Name: l.Name, Scope: l.Scope, Kind: l.Kind, Unit: l.Unit, Mode: l.Mode, Amount: l.Amount, Burst: l.Burst, Per: l.Per}
		state := g.Lines[i].State
		if state.Rate = l.Rate; l.Kind == KindRate {
			state.Mark = g.Now
		} else {
			state.Part = 0
		}
		subject := ""
		if l.Other {
			subject = Other
		}
		c.Lines = append(c.Lines, Line{
			Terms: &Terms{Limit: limit}, Subject: subject, Model: l.Model, Cost: l.Cost, Unweighed: l.Unweighed,
			Window: l.Window, State: state, Fits: g.Lines[i].Fits,
		})
	}
	d.read(&c)
	return d, nil
}
