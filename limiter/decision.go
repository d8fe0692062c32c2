package limiter

import (
	"slices"
	"time"
)

// Decision is the answer to an [Ask].
type Decision struct {
	Allowed      bool
	Provider     string
	KeyID        string
	Pool         string // the named pool of the key, or ""
	Revision     int64  // of the provider's policy
	Degraded     bool   // decided without the shared store
	Limits       []LimitStatus
	IgnoredUnits []string      // units named in the ask that no limit counts which applies to it
	UnknownUnits []string      // those of them that no limit of the policy counts; never [DefaultUnit]
	UnknownModel bool          // limits have models, and none of them is for the model that was named
	PermitID     string        // with a hold: what to settle it by
	Expires      time.Time     // and until when
	Replayed     bool          // the answer to an earlier ask with the same idempotency key
	RetryAfter   time.Duration // of a denial: the longest wait of the limits that refused
}

// Violated are the names of the limits that refused.
func (d *Decision) Violated() []string {
	var names []string
	for i := range d.Limits {
		if d.Limits[i].Refused {
			names = append(names, d.Limits[i].Name)
		}
	}
	return names
}

// CountedAs is [Other] if the key or the model was counted with others at any limit, else "".
func (d *Decision) CountedAs() string {
	for i := range d.Limits {
		if d.Limits[i].CountedAs != "" {
			return d.Limits[i].CountedAs
		}
	}
	return ""
}

// LimitStatus is how one limit stands after a decision (before charging, for a dry run).
type LimitStatus struct {
	Name      string
	Scope     Scope
	Kind      Kind
	Unit      string
	Mode      Mode
	Model     string // where each model has a counter of its own
	CountedAs string // [Other], where there are too many keys or models to count the ask's apart; else ""
	Amount    int64
	Cost      int64         // what the ask was, or would be, charged here
	Used      int64         // units in debt, or charged in this window, rounded up; slots that are held
	Remaining int64         // what fits at once now
	Reset     time.Duration // until the counter is as if never charged
	// RetryAfter is the time until this cost fits if nobody else spends; 0 when it fitted. For a cost that a shadow limit
	// could never admit it equals Reset.
	RetryAfter time.Duration
	Unweighed  bool          // the ask named no unit of the limit: Cost is the limit's default
	Refused    bool          // enforced, and the cost did not fit
	WouldDeny  bool          // shadow, and the cost did not fit
	Window     time.Duration // per of a rate; the real length of a quota's window
	NextUnit   time.Duration // until one more unit fits than now; 0 when the counter is untouched, or holds slots
	Misfit     string        // why an override no longer fits the policy and was clamped; "" where it fits
}

// status is how a line stands after a decision at now.
func (l *Line) status(now Instant) LimitStatus {
	t := l.Terms
	s := LimitStatus{
		Name:      t.Limit.Name,
		Scope:     t.Limit.Scope,
		Kind:      t.Limit.Kind,
		Unit:      t.Limit.Unit,
		Mode:      t.Limit.Mode,
		Model:     l.Model,
		Amount:    t.Limit.Amount,
		Cost:      l.Cost,
		Unweighed: l.Unweighed,
		Used:      l.State.whole(),
		Remaining: t.remaining(l.State),
		Reset:     t.Untouched(l.State, now),
		Window:    t.Limit.Per,
		NextUnit:  t.Untouched(l.State, now),
		Misfit:    t.Misfit,
	}
	switch t.Limit.Kind {
	case KindRate:
		s.NextUnit = l.State.waitFor(max(0, t.Limit.Burst-s.Remaining-1))
	case KindQuota:
		s.Window = l.Window.Length()
	case KindConcurrency:
		s.NextUnit = 0
	}
	if l.other() {
		s.CountedAs = Other
	}
	if !l.Fits {
		s.RetryAfter = t.wait(l.State, l.Needs(), now)
		s.Refused = t.Limit.Mode == Enforce
		s.WouldDeny = !s.Refused
	}
	return s
}

// read fills the decision from a decided charge.
func (d *Decision) read(c *Charge) {
	d.Allowed = c.Outcome.Verdict == Granted
	d.Limits = slices.Grow(d.Limits, len(c.Lines))
	for i := range c.Lines {
		s := c.Lines[i].status(c.Outcome.Now)
		if s.Refused {
			d.RetryAfter = max(d.RetryAfter, s.RetryAfter)
		}
		d.Limits = append(d.Limits, s)
	}
}
