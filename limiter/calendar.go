package limiter

import "time"

// Period is the calendar unit of a quota.
type Period string

// The periods that a quota may have. A week starts on Monday.
const (
	Hour  Period = "hour"
	Day   Period = "day"
	Week  Period = "week"
	Month Period = "month"
)

var periods = []Period{Hour, Day, Week, Month}

// Calendar divides time into windows: the hours, days, weeks or months of one time zone.
//
// A window starts at the first instant whose local time is in it, and ends where the next one starts. So windows
// neither overlap nor leave a gap, whatever the zone's clocks do: a day on which they go forward at midnight starts at
// 01:00, an hour that is lived twice is one window, and a date that a zone leaves out has none.
type Calendar struct {
	Period Period
	Zone   *time.Location
}

// Window is the half-open interval [Start, End) of one window, and when the window after it ends (0: not known). The zero
// Window holds no instant.
type Window struct {
	Start, End Instant
	NextEnd    Instant `json:"-"`
}

// Contains reports whether now is in the window.
func (w Window) Contains(now Instant) bool { return w.Start <= now && now < w.End }

// Length is the window's real length: a day may have 23 or 25 hours.
func (w Window) Length() time.Duration { return time.Duration(w.End-w.Start) * time.Microsecond }

// longestSetback bounds how far clocks are ever set back at once (a zone that moves across the date line: 24 h).
const longestSetback = 25 * time.Hour

// WindowAt is the window that now is in.
func (c Calendar) WindowAt(now Instant) Window {
	at := now.Time()
	start := c.floor(c.latestLocal(at))
	next := c.next(start)
	w := Window{Start: c.firstInstant(start), End: c.firstInstant(next)}
	for w.NextEnd <= w.End { // the next one may be a date that was left out
		next = c.next(next)
		w.NextEnd = c.firstInstant(next)
	}
	return w
}

// latestLocal is the latest local time seen up to and including at. It is the local time now, except after clocks were
// set back: until they catch up, the later time was already lived.
func (c Calendar) latestLocal(at time.Time) time.Time {
	latest := local(at, c.Zone)
	since, _ := at.In(c.Zone).ZoneBounds()
	for !since.IsZero() && at.Sub(since) < longestSetback {
		before := since.Add(-time.Nanosecond)
		if l := local(before, c.Zone); l.After(latest) {
			latest = l
		}
		since, _ = before.In(c.Zone).ZoneBounds()
	}
	return latest
}

// firstInstant is the first instant whose local time is at or after wall.
func (c Calendar) firstInstant(wall time.Time) Instant {
	at := wall.Add(-2 * longestSetback) // local and UTC differ by 15 h at most, so this is before it in any zone
	for {
		from, until := at.In(c.Zone).ZoneBounds()
		if !until.IsZero() && !until.After(at) { // https://go.dev/issue/81583: the last day of a leap year, when no clocks change
			until = at.Add(time.Hour)
		}
		_, offset := at.In(c.Zone).Zone()
		first := wall.Add(-time.Duration(offset) * time.Second)
		if first.Before(from) {
			first = from // clocks went forward past wall
		}
		if until.IsZero() || first.Before(until) {
			return InstantOf(first)
		}
		at = until
	}
}

// local is the wall clock of zone at an instant, carried by a UTC time so that it can be compared and counted on.
func local(at time.Time, zone *time.Location) time.Time {
	_, offset := at.In(zone).Zone()
	return at.UTC().Add(time.Duration(offset) * time.Second)
}

// floor is the wall time at which the window of a wall time starts.
func (c Calendar) floor(wall time.Time) time.Time {
	y, m, d := wall.Date()
	switch c.Period {
	case Hour:
		return wall.Truncate(time.Hour)
	case Week:
		d -= (int(wall.Weekday()) + 6) % 7
	case Month:
		d = 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// next is the wall time at which the window after the one that starts at start begins.
func (c Calendar) next(start time.Time) time.Time {
	switch c.Period {
	case Hour:
		return start.Add(time.Hour)
	case Week:
		return start.AddDate(0, 0, 7)
	case Month:
		return start.AddDate(0, 1, 0)
	}
	return start.AddDate(0, 0, 1)
}
