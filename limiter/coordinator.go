package limiter

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Coordinator answers asks: it works out which limits apply, has the store decide, and reads the figures off. It keeps
// what it last saw of the documents; the store tells it when that is no longer current.
//
// Any number of coordinators may share a store, in one process or in many.
type Coordinator struct {
	store    Store
	policies sync.Map // provider → *policyView
	entries  *lru.Cache[DocID, *entryView]
	skew     atomic.Int64 // store time less this machine's time, in microseconds, as last seen
	names    *seenNames
	attempts sync.Pool
	self     atomic.Pointer[Instance] // while it attends
	peers    atomic.Pointer[peers]    // the instances last seen

	started      time.Time
	log          *slog.Logger
	makeStandIn  func(clock func() Instant) Store
	minInstances int64
	assumed      sync.Map     // provider → *policyView: what holds until the store has said what does
	assuming     atomic.Int64 // how many those are
	outages      sync.Map     // provider → *outage
	away         atomic.Int64 // how many those are
	cutOff       atomic.Bool  // the last heartbeat failed
	owing        owing
	memory       *Memory // of journals and of what is owed
	rescue       rescue
	patching     chan struct{} // has room for one, who makes a page of a history
}

const (
	entryCacheSize = 1 << 16
	// askLifetime is how far ahead of the store's time an ask stays valid.
	askLifetime = time.Second
	// maxRounds is how often an ask is resolved anew because documents change under it before it is given up.
	maxRounds = 64
)

// New is a coordinator over a store.
func New(store Store, options ...Option) *Coordinator {
	entries, err := lru.New[DocID, *entryView](entryCacheSize)
	if err != nil {
		panic(err) // only for a size below 1
	}
	c := &Coordinator{
		store: store, entries: entries, names: newSeenNames(), started: time.Now(), minInstances: 1, log: slog.New(slog.DiscardHandler),
		rescue: rescue{policy: make(chan struct{}, 1)}, patching: make(chan struct{}, 1),
	}
	c.attempts.New = func() any { return &attempt{charge: Charge{Lines: make([]Line, 0, MaxLimitsPerAsk)}} }
	for _, set := range options {
		set(c)
	}
	if c.memory == nil {
		c.memory = NewMemory(DefaultMemory)
	}
	if c.makeStandIn != nil {
		c.memory.Sweeps(c.sweepErrands)
	}
	return c
}

// Acquire asks for a permit. A denial is a Decision with Allowed false; an error means that there is no decision and
// that nothing was charged.
func (c *Coordinator) Acquire(ctx context.Context, ask Ask) (*Decision, error) {
	a := c.begin(&ask)
	if !c.decidedHere(a) {
		c.run(ctx, []*attempt{a})
		c.standIn(a)
	}
	return c.end(a)
}

// Result is a Decision or why there is none.
type Result struct {
	Decision *Decision
	Err      error
}

// AcquireBatch asks for many permits at once. Each is as independent as if it were asked for alone, in order.
func (c *Coordinator) AcquireBatch(ctx context.Context, asks []Ask) []Result {
	attempts := make([]*attempt, len(asks))
	for i := range asks {
		attempts[i] = c.begin(&asks[i])
	}
	var open []*attempt
	for _, a := range attempts {
		if a.err == nil && ctx.Err() != nil {
			a.err = context.Cause(ctx)
		} else if !c.decidedHere(a) {
			open = append(open, a)
		}
	}
	c.run(ctx, slices.Clone(open))
	for _, a := range open {
		c.standIn(a)
	}
	results := make([]Result, len(asks))
	for i, a := range attempts {
		results[i].Decision, results[i].Err = c.end(a)
	}
	return results
}

// begin readies an attempt.
func (c *Coordinator) begin(ask *Ask) *attempt {
	a := c.attempts.Get().(*attempt)
	a.ask = ask
	if a.err = ask.Validate(); a.err == nil {
		a.charge.Provider = ask.Provider
		a.charge.KeyID = ask.KeyID
		a.charge.PermitID = newPermitID(ask.Provider)
		a.charge.DryRun = ask.DryRun
	}
	return a
}

// end gives an attempt back and returns what came of it.
func (c *Coordinator) end(a *attempt) (*Decision, error) {
	d, err := a.decision, a.err
	clear(a.charge.Lines[:cap(a.charge.Lines)])
	*a = attempt{charge: Charge{Lines: a.charge.Lines[:0], Names: a.charge.Names[:0]}}
	c.attempts.Put(a)
	return d, err
}

// run takes attempts through the store until each has a decision or an error.
func (c *Coordinator) run(ctx context.Context, open []*attempt) {
	begin, n := time.Now(), len(open)
	missing, bounded := c.missing(open), 1 // the first decision the store bounds by itself
	if len(missing) > 0 {
		bounded = 0
	}
	for round := 0; len(open) > 0; round++ {
		if round == bounded {
			var cancel context.CancelFunc
			ctx, cancel = c.patient(ctx, begin, n)
			defer cancel()
			c.readPolicies(ctx, open, missing)
		}
		open = c.round(ctx, open, round)
	}
}

// missing are the providers of attempts that nothing is known of yet.
func (c *Coordinator) missing(open []*attempt) (names []string) {
	for _, a := range open {
		if _, known := c.policies.Load(a.ask.Provider); !known && a.err == nil && !slices.Contains(names, a.ask.Provider) {
			names = append(names, a.ask.Provider)
		}
	}
	return names
}

// readPolicies reads those of some providers, each once. The attempts at those that can't be had have failed.
func (c *Coordinator) readPolicies(ctx context.Context, open []*attempt, names []string) {
	failed := map[string]error{}
	for _, name := range names {
		if ctx.Err() != nil {
			failed[name] = context.Cause(ctx)
		} else if _, err := c.policy(ctx, name); err != nil {
			failed[name] = err
		}
	}
	for _, a := range open {
		if err := failed[a.ask.Provider]; err != nil && a.err == nil {
			a.err = err
		}
	}
}

// patient bounds so many asks that began at a time.
func (c *Coordinator) patient(ctx context.Context, begin time.Time, asks int) (context.Context, context.CancelFunc) {
	most := c.store.Patience() * time.Duration(min(1+asks/128, 8))
	if most == 0 {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, begin.Add(most), fmt.Errorf("%w: no answer within %v", ErrStoreUnavailable, most))
}

// round resolves and decides attempts once, and returns those that have to be tried again.
func (c *Coordinator) round(ctx context.Context, open []*attempt, round int) []*attempt {
	charges := make([]*Charge, 0, len(open))
	asked := open[:0]
	for _, a := range open {
		if a.err != nil {
			continue
		}
		if ctx.Err() != nil { // nobody waits for the rest of a long batch
			a.err = context.Cause(ctx)
			continue
		}
		if a.err = c.prepare(ctx, a); a.err != nil {
			continue
		}
		asked, charges = append(asked, a), append(charges, &a.charge)
	}
	if len(charges) == 0 {
		return nil
	}
	c.store.Decide(ctx, charges)
	again := asked[:0]
	for _, a := range asked {
		if a.charge.Outcome.Verdict != 0 {
			c.answered(a.ask.Provider)
			c.learn(a.charge.Outcome.Now)
		}
		if v := a.charge.Outcome.Verdict; v == Granted || v == Denied {
			a.key.confirm(a.charge.Outcome.Now)
			a.pool.confirm(a.charge.Outcome.Now)
			if v == Granted {
				c.names.learn(a)
			}
		}
		done := c.conclude(ctx, a)
		if !done && round >= maxRounds {
			a.err, done = fmt.Errorf("%w: the documents change faster than this ask can follow", ErrOverloaded), true
		}
		if !done {
			again = append(again, a)
		}
	}
	return again
}

// prepare resolves an attempt under what is known.
func (c *Coordinator) prepare(ctx context.Context, a *attempt) error {
	policy, err := c.policy(ctx, a.ask.Provider)
	if err != nil {
		return err
	}
	if a.now == 0 {
		a.now = c.now()
	}
	k := c.known(a.ask.Provider, policy, a.ask.KeyID, a.charge.Pool)
	a.resolve(k)
	a.name(k, c.names)
	a.hold(policy.policy)
	a.once()
	return nil
}

// wantsHold reports whether the charge is to be recorded, because the ask says so or a slot is taken.
func (a *attempt) wantsHold() bool {
	return a.ask != nil && a.ask.Hold || slices.ContainsFunc(a.charge.Lines, Line.takesSlots)
}

// hold asks for a record of the charge, if the ask does or a slot is taken.
func (a *attempt) hold(p *Policy) {
	a.charge.Hold = nil
	if a.usage || a.refusal != nil {
		return
	}
	wanted := a.wantsHold()
	if !wanted {
		a.waive()
	}
	fault := ""
	switch {
	case a.ask.TTL > p.HoldTTL:
		fault = "must be at most the provider's hold_ttl, " + FormatDuration(p.HoldTTL)
	case a.ask.TTL > 0 && !wanted:
		fault = "is of a hold, and there is none: ask for one with hold, or leave it out"
	}
	if fault != "" {
		a.refusal, a.charge.Lines, a.charge.Names = &InvalidError{[]Fault{{"/ttl_ms", fault}}}, a.charge.Lines[:0], a.charge.Names[:0]
		return
	}
	if wanted && !a.ask.DryRun {
		r := a.reservation()
		a.charge.Hold = r.hold(cmp.Or(a.ask.TTL, p.HoldTTL), p.keep())
	}
}

// conclude takes in a store's answer. It returns false when the attempt has to be made again.
func (c *Coordinator) conclude(ctx context.Context, a *attempt) bool {
	o := &a.charge.Outcome
	switch o.Verdict {
	case Stale:
		a.err = c.adopt(ctx, a.ask.Provider, a.charge.KeyID, a.charge.Pool, &o.Current)
		a.now = 0
		return a.err != nil
	case Late:
		a.now = o.Now
		return false
	case Crowded:
		a.crowd |= o.Crowd
		return false
	case Repeated:
		a.decision, a.err = a.repeat(o.Grant)
		return true
	case Granted, Denied:
	default:
		a.err = o.Err
		return true
	}
	if a.refusal != nil && a.until > o.Now && a.until <= a.now { // its time was not over, by the store's clock
		a.now = o.Now
		return false
	}
	if a.refusal != nil {
		a.err = a.refusal
		return true
	}
	a.decision = &Decision{
		Provider:     a.ask.Provider,
		KeyID:        a.ask.KeyID,
		Pool:         a.charge.Pool,
		Revision:     a.policy.record.Revision,
		IgnoredUnits: a.ignored,
		UnknownUnits: a.unknownUnits,
		UnknownModel: a.unknownModel,
	}
	a.decision.read(&a.charge)
	if o.Verdict == Granted && a.charge.Hold != nil {
		a.decision.PermitID, a.decision.Expires = a.charge.PermitID, o.Expires.Time()
	}
	return true
}

// now is the store's time, as far as this instance can tell.
func (c *Coordinator) now() Instant { return c.clock() + Instant(c.skew.Load()) }

// clock is this machine's time, as it was at the start, and as much as has passed since: it does not step.
func (c *Coordinator) clock() Instant { return InstantOf(c.started.Add(time.Since(c.started))) }

// learn remembers by how much the store's time differs from this machine's.
func (c *Coordinator) learn(storeNow Instant) {
	if storeNow == 0 {
		return
	}
	skew := int64(storeNow - c.clock())
	if d := skew - c.skew.Load(); d > 1000 || d < -1000 {
		c.skew.Store(skew)
	}
}

// newPermitID is an id that no other instance will choose: "p_", the provider, and 128 random bits. Whoever holds it can
// tell the provider, and so where the permit is kept.
func newPermitID(provider string) string {
	var random [16]byte
	rand.Read(random[:]) // never fails
	buf := make([]byte, 0, 96)
	buf = append(append(append(buf, "p_"...), provider...), '_')
	return string(base64.RawURLEncoding.AppendEncode(buf, random[:]))
}
