package limiter

import (
	"sync/atomic"
	"time"
)

// RateChange is a speed and the moment from which it holds.
type RateChange struct {
	At   Instant
	Rate Rate
}

// Schedule is the speed of a rate limit through its edits, so that each stretch of time drains a counter at the speed
// that held then.
type Schedule struct {
	Changes []RateChange // oldest first; the last is in force
	Cut     bool         // older changes are no longer known;
	Slowest Rate         // before Changes[0] a counter drains no faster than this
}

// current is the change in force.
func (s *Schedule) current() RateChange { return s.Changes[len(s.Changes)-1] }

// drain lets time pass until now, and leaves the state under the change in force. Where the schedule and what a counter
// says it was written under disagree (histories that were cut or redated) the slower holds.
func (s *Schedule) drain(st State, now Instant) State {
	current := s.current()
	if st.Used == 0 && st.Part == 0 {
		return State{Mark: now, Rate: current.Rate, Since: current.At, Born: st.Born, Total: st.Total}
	}
	if st.Since == current.At && st.Rate == current.Rate { // the usual case: no edit since
		return st.drainTo(now)
	}
	rate, next := s.rateAfter(st)
	for _, c := range s.Changes[next:] {
		if until := min(c.At, now); until > st.Mark {
			st = st.drainAt(rate, until)
		}
		rate = c.Rate
	}
	st = st.drainAt(rate, now).under(current.Rate)
	st.Since = current.At
	return st
}

// rateAfter is the speed at which a state drains first, and which of the changes is the next that it meets.
func (s *Schedule) rateAfter(st State) (rate Rate, next int) {
	for next < len(s.Changes) && s.Changes[next].At <= st.Since {
		next++
	}
	rate = st.Rate
	switch {
	case next == 0:
		if s.Cut && s.Slowest.slower(rate) {
			rate = s.Slowest
		}
	case s.Changes[next-1].At == st.Since:
		if s.Changes[next-1].Rate != rate { // made in the same microsecond, but later
			next--
		}
	default: // redated by an edit after the clock stepped back: until the last one, any of them may have held
		next = len(s.Changes) - 1
		for _, c := range s.Changes[:next] {
			if c.Rate.slower(rate) {
				rate = c.Rate
			}
		}
	}
	return rate, next
}

// drainAt lets time pass until now at a given rate.
func (s State) drainAt(r Rate, now Instant) State {
	if r.Units == 0 {
		s.Mark = now
		return s
	}
	return s.under(r).drainTo(now)
}

// Moved reports whether a state has to be written although nothing was charged: because it was taken over to another
// change of rate (the record of past ones is finite), or the clock stepped back behind it.
func (s State) Moved(advanced State) bool {
	return s.Rate != advanced.Rate || s.Since != advanced.Since || advanced.Mark < s.Mark
}

// Terms are a limit as it stands for one subject: overrides applied, with all that a store has to know. Immutable, and
// shared by every ask they apply to. Advance, Fits and Charge are the whole of a decision.
type Terms struct {
	Limit    *Limit
	Counter  string // which of the provider's counters: generation, limit, and since which revision
	Schedule Schedule
	Misfit   string // why the override of the subject's entry does not fit the policy's limit, and was clamped; "" where it fits

	window atomic.Pointer[Window] // of a quota: the last one that was asked for
}

// windowAt is the window of a quota that holds now; the zero Window for other kinds.
func (t *Terms) windowAt(now Instant) Window {
	if t.Limit.Kind != KindQuota {
		return Window{}
	}
	if w := t.window.Load(); w != nil && w.Contains(now) {
		return *w
	}
	w := t.Limit.Calendar.WindowAt(now)
	t.window.Store(&w)
	return w
}

// Advance returns the state at now, before anything is charged. window is that of a quota and holds now. A quota whose
// window has not ended stays as it is, also where the clock stepped back out of that window, but not if the window ends
// later than the next one does: then the clock was far ahead when it began, and the counter starts in the window that
// holds. Slots that have expired are the store's to take away.
func (t *Terms) Advance(s State, now Instant, window Window) State {
	switch {
	case t.Limit.Kind == KindRate:
		return t.Schedule.drain(s, now)
	case t.Limit.Kind == KindQuota && (s.Mark <= now || window.NextEnd > 0 && s.Mark > window.NextEnd):
		return State{Mark: window.End}
	}
	return s
}

// Fits reports whether so many units ([Line.Needs]) fit now, given an advanced state. None always do.
func (t *Terms) Fits(s State, units int64) bool {
	return units == 0 || units <= t.Limit.Burst-s.whole()
}

// Charge adds a cost to an advanced state. Only a shadow limit is ever charged what does not fit, up to Most.
func (t *Terms) Charge(s State, cost int64) State {
	was := s.Used
	if s.Total == 0 || s.Mark < s.Born { // the clock may have stepped back
		s.Born = s.Mark
	}
	s.Used = min(addUnits(s.Used, cost), max(s.Used, t.Most()))
	s.Total = addUnits(s.Total, s.Used-was)
	return s
}

// Most is how far a charge may take a counter. A rate goes no further into debt than one amount past its burst, so that
// enforcing a limit that was a shadow does not deny for hours; a quota counts on.
func (t *Terms) Most() int64 {
	if t.Limit.Kind == KindRate {
		return t.Limit.Burst + t.Limit.Amount
	}
	return maxUnits
}

// Untouched is how long an advanced state takes to become one that was never charged, at most [Forever]. A store need
// not keep it for longer.
func (t *Terms) Untouched(s State, now Instant) time.Duration {
	if t.Limit.Kind == KindRate {
		return s.waitFor(0)
	}
	if s.Used == 0 {
		return 0
	}
	return micro(uint64(max(0, s.Mark-now)))
}

// wait is the time until a cost fits, if it ever does, and nobody charges more.
func (t *Terms) wait(s State, cost int64, now Instant) time.Duration {
	switch {
	case t.Fits(s, cost):
		return 0
	case t.Limit.Kind == KindRate && cost <= t.Limit.Burst:
		return s.waitFor(t.Limit.Burst - cost)
	case t.Limit.Kind == KindConcurrency:
		return min(slotHint, t.Untouched(s, now))
	}
	return t.Untouched(s, now)
}

// slotHint is what who finds no slot is told to wait at most: when one is given back can't be known.
const slotHint = time.Second

// remaining is what fits now.
func (t *Terms) remaining(s State) int64 { return max(0, t.Limit.Burst-s.whole()) }
