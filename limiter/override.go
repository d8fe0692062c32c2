package limiter

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Override replaces some figures of one limit for one key or pool. Zero values leave what the policy says.
type Override struct {
	Limit  string
	Amount int64
	Burst  int64
	Per    time.Duration // of a rate
	Period Period        // of a quota
	Mode   Mode
}

func (e *Entry) readOverride(limit string, n *node) {
	if !n.object() {
		return
	}
	o := Override{Limit: limit}
	n.take("amount").integer(&o.Amount, 1, MaxAmount)
	n.take("burst").integer(&o.Burst, 1, MaxAmount)
	if per := n.take("per"); per != nil && slices.Contains(periods, Period(per.text)) {
		o.Period = Period(per.text)
	} else {
		per.duration(&o.Per, MinPer, MaxPer)
	}
	oneOf(n.take("mode"), &o.Mode, Enforce, Shadow)
	n.rest("amount, per, burst, mode")
	e.Overrides = append(e.Overrides, o)
}

// misfit says why the override of an entry of some kind does not fit a policy, or "".
func (o *Override) misfit(kind EntryKind, p *Policy) string {
	l := p.Limit(o.Limit)
	switch {
	case l == nil:
		return "the policy has no limit of this name" + didYouMean(o.Limit, p.limitNames())
	case string(l.Scope) != string(kind):
		return fmt.Sprintf("is a limit of scope %s; a %s entry overrides limits of scope %s only", l.Scope, kind, kind)
	}
	_, fault := o.apply(l)
	return fault
}

// apply returns the limit with the override on top, and why that does not fit, or "". An override that does not fit,
// because the policy was edited since, is clamped: see [spec.clamp] for a rate. Of a quota and of slots, whose burst
// is their amount, the amount is the smallest of all that both name; the period of a quota is the longer of both,
// where a duration stands for the shortest period that is at least as long. The mode always fits, and is the
// override's.
func (o *Override) apply(l *Limit) (_ *Limit, fault string) {
	n := *l
	n.Mode = cmp.Or(o.Mode, l.Mode)
	if l.Kind == KindRate {
		s, fault := l.spec().over(o.spec())
		n.Amount, n.burst, n.Burst, n.Per = s.Amount, s.Burst, s.burst(), time.Duration(s.Per)*time.Microsecond
		return &n, fault
	}
	n.Amount = cmp.Or(o.Amount, l.Amount)
	if l.Kind == KindQuota {
		n.Calendar.Period = cmp.Or(o.Period, l.Calendar.Period)
	}
	switch {
	case o.Burst > 0:
		fault = "only a limit of kind rate has a burst"
	case o.Per > 0:
		fault = "only a limit of kind rate has a duration as per; a quota has hour, day, week or month"
	case o.Period != "" && l.Kind != KindQuota:
		fault = noPeriod
	}
	if fault != "" {
		n.Amount = smaller(smaller(l.Amount, o.Amount), o.Burst)
		if l.Kind == KindQuota {
			n.Calendar.Period = periodOf(max(o.Per, o.Period.length(), l.Calendar.Period.length()))
		}
	}
	n.Burst = n.Amount
	return &n, fault
}

const noPeriod = "only a limit of kind quota has a calendar period as per; a rate has a duration such as 1m"

// spec is what the override changes of a rate; zeros change nothing.
func (o *Override) spec() spec {
	return spec{Amount: o.Amount, Burst: o.Burst, Per: int64(max(o.Per, o.Period.length()) / time.Microsecond), Calendar: o.Period != ""}
}

// over returns s with what an override changes on top, and why that does not fit, or "". What does not fit is clamped.
func (s spec) over(o spec) (_ spec, fault string) {
	n := s
	n.Amount, n.Burst, n.Per = cmp.Or(o.Amount, s.Amount), cmp.Or(o.Burst, s.Burst), cmp.Or(o.Per, s.Per)
	if fault = n.fault(); o.Calendar {
		fault = noPeriod
	}
	if fault != "" {
		return s.clamp(o), fault
	}
	return n, ""
}

// clamp returns what a rate becomes for an override that does not fit it. It is never wider than the rate nor than
// what the override names, in amount, burst and speed alike:
//
//   - amount is the smaller of both, per the longer; a calendar period counts as its length.
//   - burst is the smaller of both, and at most the new amount.
//   - With strict_window, which needs burst below amount, a burst that is too large shrinks until the limit sustains what it
//     would by default (nine tenths of the new amount), or what the rate sustains, if that is less. Then amount shrinks, if it
//     must, so that no more is sustained than the rate does.
//
// An amount of 1, which no burst is below, is one unit per (per + slack).
//
// For example amount 20 over 1000 per 1m with a burst of 30 is 20 per 1m with a burst of 2.
func (s spec) clamp(o spec) spec {
	c, sustained := s, s.Amount-s.burst()
	c.Amount, c.Per = smaller(s.Amount, o.Amount), max(s.Per, o.Per)
	c.Burst = min(smaller(s.burst(), o.Burst), c.Amount)
	if s.Strict {
		if c.Burst == c.Amount {
			c.Burst = c.Amount - min(sustained, c.Amount-strictBurst(c.Amount))
		}
		c.Amount = min(c.Amount, c.Burst+sustained)
	}
	return c
}

// smaller returns the smaller of a figure and one that may be left open.
func smaller(a, open int64) int64 {
	if open == 0 {
		return a
	}
	return min(a, open)
}

// length returns how long a window of the period usually is: a month 31 days. It is 0 for "".
func (p Period) length() time.Duration {
	day := 24 * time.Hour
	return map[Period]time.Duration{Hour: time.Hour, Day: day, Week: 7 * day, Month: 31 * day}[p]
}

// periodOf returns the shortest period that is at least so long, or [Month].
func periodOf(d time.Duration) Period {
	for _, p := range periods {
		if p.length() >= d {
			return p
		}
	}
	return Month
}
