package limiter

import (
	"fmt"
	"testing"
	"time"
)

// windowCase is one window, by the local times at its ends as people in the zone would write them.
type windowCase struct {
	zone       string
	period     Period
	at         string // RFC 3339
	start, end string
	length     time.Duration
}

func TestWindowsOfDaysThatPeopleWonderAbout(t *testing.T) {
	h := time.Hour
	for name, c := range map[string]windowCase{
		"plain":                          {"UTC", Day, "2026-11-23T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z", 24 * h},
		"clocks go forward at midnight":  {"Africa/Cairo", Day, "2026-04-24T12:00:00+03:00", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00", 23 * h},
		"and the day before it":          {"Africa/Cairo", Day, "2026-04-23T12:00:00+02:00", "2026-04-23T00:00:00+02:00", "2026-04-24T01:00:00+03:00", 24 * h},
		"clocks go back at midnight":     {"Africa/Cairo", Day, "2026-10-29T23:30:00+02:00", "2026-10-29T00:00:00+03:00", "2026-10-30T00:00:00+02:00", 25 * h},
		"clocks go forward to midnight":  {"America/Nuuk", Day, "2025-03-30T00:00:00-01:00", "2025-03-30T00:00:00-01:00", "2025-03-31T00:00:00-01:00", 24 * h},
		"a day without its last hour":    {"America/Nuuk", Day, "2025-03-29T22:59:59-02:00", "2025-03-29T00:00:00-02:00", "2025-03-30T00:00:00-01:00", 23 * h},
		"midnight twice":                 {"America/Havana", Day, "2025-11-02T00:30:00-05:00", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00", 25 * h},
		"no midnight":                    {"America/Havana", Day, "2025-03-09T01:00:00-04:00", "2025-03-09T01:00:00-04:00", "2025-03-10T00:00:00-04:00", 23 * h},
		"an evening twice":               {"Asia/Beirut", Day, "2025-10-25T23:30:00+02:00", "2025-10-25T00:00:00+03:00", "2025-10-26T00:00:00+02:00", 25 * h},
		"Beirut's spring":                {"Asia/Beirut", Day, "2025-03-30T01:00:00+03:00", "2025-03-30T01:00:00+03:00", "2025-03-31T00:00:00+03:00", 23 * h},
		"the last summer of Asuncion":    {"America/Asuncion", Day, "2024-10-06T12:00:00-03:00", "2024-10-06T01:00:00-03:00", "2024-10-07T00:00:00-03:00", 23 * h},
		"an evening twice in Asuncion":   {"America/Asuncion", Day, "2024-03-23T23:59:59-04:00", "2024-03-23T00:00:00-03:00", "2024-03-24T00:00:00-04:00", 25 * h},
		"the Azores' spring":             {"Atlantic/Azores", Day, "2025-03-30T01:00:00+00:00", "2025-03-30T01:00:00Z", "2025-03-31T00:00:00Z", 23 * h},
		"the Azores' autumn":             {"Atlantic/Azores", Day, "2025-10-26T00:30:00-01:00", "2025-10-26T00:00:00Z", "2025-10-27T00:00:00-01:00", 25 * h},
		"a day that was left out":        {"Pacific/Apia", Day, "2011-12-31T00:00:00+14:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00", 24 * h},
		"the day before it went":         {"Pacific/Apia", Day, "2011-12-29T23:59:59-10:00", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", 24 * h},
		"a week of six days":             {"Pacific/Apia", Week, "2011-12-27T00:00:00-10:00", "2011-12-26T00:00:00-10:00", "2012-01-02T00:00:00+14:00", 6 * 24 * h},
		"half an hour forward":           {"Australia/Lord_Howe", Hour, "2025-10-05T02:30:00+11:00", "2025-10-05T02:30:00+11:00", "2025-10-05T03:00:00+11:00", h / 2},
		"half an hour back":              {"Australia/Lord_Howe", Hour, "2025-04-06T01:45:00+10:30", "2025-04-06T01:00:00+11:00", "2025-04-06T02:00:00+10:30", h + h/2},
		"an hour lived twice":            {"America/New_York", Hour, "2025-11-02T01:10:00-05:00", "2025-11-02T01:00:00-04:00", "2025-11-02T02:00:00-05:00", 2 * h},
		"an hour left out":               {"America/New_York", Hour, "2025-03-09T01:59:59-05:00", "2025-03-09T01:00:00-05:00", "2025-03-09T03:00:00-04:00", h},
		"an offset of 45 minutes":        {"Asia/Kathmandu", Hour, "2025-03-09T01:59:59+05:45", "2025-03-09T01:00:00+05:45", "2025-03-09T02:00:00+05:45", h},
		"Ramadan starts in Casablanca":   {"Africa/Casablanca", Hour, "2025-02-23T02:30:00+00:00", "2025-02-23T02:00:00+01:00", "2025-02-23T03:00:00+00:00", 2 * h},
		"a day within it":                {"Africa/Casablanca", Day, "2025-03-10T12:00:00+00:00", "2025-03-10T00:00:00Z", "2025-03-11T00:00:00Z", 24 * h},
		"two hours lived twice":          {"Antarctica/Troll", Hour, "2025-10-26T01:30:00+00:00", "2025-10-26T02:00:00+02:00", "2025-10-26T03:00:00+00:00", 3 * h},
		"a week begins on Monday":        {"Europe/Berlin", Week, "2026-03-29T23:59:59+02:00", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 7*24*h - h},
		"a month":                        {"Europe/Berlin", Month, "2026-03-31T23:59:59+02:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00", 31*24*h - h},
		"February of a leap year":        {"Asia/Tokyo", Month, "2028-02-29T12:00:00+09:00", "2028-02-01T00:00:00+09:00", "2028-03-01T00:00:00+09:00", 29 * 24 * h},
		"the month in which Cairo began": {"Africa/Cairo", Month, "2026-05-01T00:00:00+03:00", "2026-05-01T00:00:00+03:00", "2026-06-01T00:00:00+03:00", 31 * 24 * h},
		"the end of a leap year":         {"America/New_York", Month, "2028-12-05T12:00:00-05:00", "2028-12-01T00:00:00-05:00", "2029-01-01T00:00:00-05:00", 31 * 24 * h},
		"before the epoch":               {"UTC", Day, "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z", 24 * h},
	} {
		t.Run(name, func(t *testing.T) {
			calendar := Calendar{c.period, zoneNamed(t, c.zone)}
			parse := func(s string) Instant {
				at, err := time.Parse(time.RFC3339, s)
				if err != nil {
					t.Fatal(err)
				}
				return InstantOf(at)
			}
			got := calendar.WindowAt(parse(c.at))
			if want := (Window{parse(c.start), parse(c.end), calendar.WindowAt(parse(c.end)).End}); got != want || got.Length() != c.length {
				t.Errorf("window from %v to %v, %v; want %s to %s, %v",
					got.Start.Time().In(calendar.Zone), got.End.Time().In(calendar.Zone), got.Length(), c.start, c.end, c.length)
			}
		})
	}
}

func TestWindowsOfAllZonesNeitherOverlapNorLeaveAGap(t *testing.T) {
	offsets := []time.Duration{0, µs, time.Second, 15 * time.Minute, time.Hour, 90 * time.Minute, 3 * time.Hour, 12 * time.Hour, 23 * time.Hour, 25 * time.Hour, 26 * time.Hour}
	for _, z := range allZones(t) {
		for _, turn := range z.moments(t, 4) {
			for _, period := range periods {
				c := Calendar{period, z.Location}
				for _, d := range offsets {
					for _, at := range []Instant{InstantOf(turn.Add(d)), InstantOf(turn.Add(-d)) - 1} {
						if fault := windowFault(c, at); fault != "" {
							t.Fatalf("%s, %s at %v: %s", z, period, at.Time().In(z.Location), fault)
						}
					}
				}
			}
		}
	}
}

// windowFault is what is wrong with the window at an instant and those next to it.
func windowFault(c Calendar, at Instant) string {
	w := c.WindowAt(at)
	switch before, after := c.WindowAt(w.Start-1), c.WindowAt(w.End); {
	case !w.Contains(at):
		return fmt.Sprintf("is not in its window %v", w)
	case c.WindowAt(w.Start) != w || c.WindowAt(w.End-1) != w:
		return fmt.Sprintf("not all of its window %v is in that window", w)
	case before.End != w.Start:
		return fmt.Sprintf("the window before %v ends at %v", w, before)
	case after.Start != w.End:
		return fmt.Sprintf("the window after %v starts at %v", w, after)
	}
	return ""
}

// TestWindowsOfAllZonesStartWhenTheirLocalTimeIsFirstSeen looks at the wall clock minute by minute around every change
// of it: a window starts when a later hour, day, week or month is seen than was ever seen before.
func TestWindowsOfAllZonesStartWhenTheirLocalTimeIsFirstSeen(t *testing.T) {
	for _, z := range allZones(t) {
		for _, turn := range z.moments(t, 2) {
			if turn.Truncate(time.Minute) != turn {
				t.Fatalf("%s changes its clocks at %v: minutes are too coarse to look at", z, turn)
			}
			for period, starts := range startsSeen(turn, z.Location, time.Minute, 54*time.Hour, 28*time.Hour) {
				c := Calendar{period, z.Location}
				first := starts[0]
				w := c.WindowAt(first)
				for _, start := range starts {
					if w.Start != start {
						t.Fatalf("%s: a %s starts at %v, want %v", z, period, w.Start.Time().In(z.Location), start.Time().In(z.Location))
					}
					w = c.WindowAt(w.End)
				}
			}
		}
	}
}

func TestWindowsStartAtTheVerySecond(t *testing.T) {
	for zone, turn := range map[string]string{
		"Africa/Cairo":        "2026-04-23T22:00:00Z",
		"America/Nuuk":        "2025-03-30T01:00:00Z",
		"Asia/Beirut":         "2025-10-25T21:00:00Z",
		"Australia/Lord_Howe": "2025-04-05T15:00:00Z",
		"Pacific/Apia":        "2011-12-30T10:00:00Z",
	} {
		at, err := time.Parse(time.RFC3339, turn)
		if err != nil {
			t.Fatal(err)
		}
		z := zoneNamed(t, zone)
		for period, starts := range startsSeen(at, z, time.Second, 30*time.Hour, 26*time.Hour) {
			for _, start := range starts {
				if w := (Calendar{period, z}).WindowAt(start); w.Start != start {
					t.Errorf("%s: a %s starts at %v, want %v", zone, period, w.Start.Time().In(z), start.Time().In(z))
				}
			}
		}
	}
}

// startsSeen scans a zone's wall clock from before to after a turn, and gives the instants from a day before it on at
// which a later hour, day, week or month was seen for the first time.
func startsSeen(turn time.Time, zone *time.Location, step, before, after time.Duration) map[Period][]Instant {
	var latest [4]int
	starts, interest := map[Period][]Instant{}, turn.Add(-26*time.Hour)
	for at := turn.Add(-before).Truncate(step); at.Before(turn.Add(after)); at = at.Add(step) {
		local := at.In(zone)
		y, m, d := local.Date()
		days := int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86400) + 1_000_000*7
		labels := [4]int{days*24 + local.Hour(), days, (days + 3) / 7, y*12 + int(m)} // the epoch was a Thursday
		for i, label := range labels {
			if label > latest[i] && !at.Before(interest) {
				starts[periods[i]] = append(starts[periods[i]], InstantOf(at))
			}
			latest[i] = max(latest[i], label)
		}
	}
	return starts
}
