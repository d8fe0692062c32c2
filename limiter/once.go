package limiter

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
}

// Grant is what a store remembers of a charge that was granted under a [Once].
type Grant struct {
	Now      Instant // the store's time of the decision
	PermitID string  // of the charge
	Ask      string
	Body     []byte
	Lines    []GrantLine // in order
}

// GrantLine is how a line stood after it was charged, and whether its cost fit. A store may mix up Part and Mark: one of
// them matters for each kind of limit.
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

// grantBody is the body of a Once: with the states of the lines, all that the decision said.
type grantBody struct {
	TTL      time.Duration `json:"ttl,omitempty"` // of the hold, if there is one
	Pool     string        `json:"pool,omitempty"`
	Revision int64         `json:"revision"`
	Ignored  []string      `json:"ignored,omitempty"`
	Units    []string      `json:"units,omitempty"` // unknown ones
	Model    bool          `json:"model,omitempty"` // it is unknown
	Lines    []grantedLine `json:"lines"`
	Counters string        `json:"counters"` // a digest of those of the lines
}

type grantedLine struct {
	Name      string        `json:"name"`
	Scope     Scope         `json:"scope"`
	Kind      Kind          `json:"kind"`
	Unit      string        `json:"unit"`
	Mode      Mode          `json:"mode"`
	Model     string        `json:"model,omitempty"`
	Amount    int64         `json:"amount"`
	Burst     int64         `json:"burst"`
	Per       time.Duration `json:"per,omitempty"`
	Rate      Rate          `json:"rate,omitzero"`
	Window    Window        `json:"window,omitzero"`
	Cost      int64         `json:"cost"`
	Unweighed bool          `json:"unweighed,omitempty"` // the ask named no unit of the limit
	Other     bool          `json:"other,omitempty"`
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
	keep := minOnceKept
	if c.Hold != nil {
		b.TTL = c.Hold.TTL
		keep = max(keep, c.Hold.TTL)
	}
	var counters []string
	for i := range c.Lines {
		l := &c.Lines[i]
		limit := l.Terms.Limit
		line := grantedLine{
			limit.Name, limit.Scope, limit.Kind, limit.Unit, limit.Mode, l.Model, limit.Amount, limit.Burst, limit.Per, Rate{},
			l.Window, l.Cost, l.Unweighed, l.other(),
		}
		if limit.Kind == KindRate {
			line.Rate = l.Terms.Schedule.current().Rate
		}
		b.Lines = append(b.Lines, line)
		counters = append(counters, l.Terms.Counter, l.Subject, l.Model)
	}
	b.Counters = digest(counters...)
	body, err := json.Marshal(b)
	if err != nil {
		panic(err) // of strings and numbers
	}
	c.Once.Keep, c.Once.Body = keep, body
}

// repeat is the decision of an earlier ask with the same idempotency key.
func (a *attempt) repeat(g *Grant) (*Decision, error) {
	if g.Ask != a.ask.digest() {
		return nil, ErrIdempotencyMismatch
	}
	var b grantBody
	if err := json.Unmarshal(g.Body, &b); err != nil || len(b.Lines) != len(g.Lines) {
		return nil, fmt.Errorf("%w: a stored grant can't be read: %v", ErrStoreUnavailable, err)
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
