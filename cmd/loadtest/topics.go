package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/permitd/permitd/limiter"
)

// topic is a section of the page: what it shows, and charts of it.
type topic struct {
	ID, Title, Text string
	Charts          []titledChart
}

type titledChart struct {
	Title string
	chart
	Lines  []string    // below the chart
	Events []pageEvent // likewise, with the numbers of the chart's marks
}

// chartPoints is how many points of time a chart has at most, and at least half of it where there are as many slots.
const chartPoints = 160

// timeLabels is into how many parts labels divide the time on a wide chart; a narrow one has half as many.
const timeLabels = 6

// timeline is what all charts over time have in common.
type timeline struct {
	slots   int           // in each piece, a power of two, as courses have it
	piece   time.Duration // how long it is
	labels  []string
	flows   [][][]flowSlot // of each provider, of each run
	courses [][]courseSlot // of each run
}

func (r *report) timeline() timeline {
	longest := 1
	for _, run := range r.Runs {
		for _, p := range run.Providers {
			longest = max(longest, len(p.slots))
		}
		longest = max(longest, run.course.units())
	}
	t := timeline{slots: 1}
	for longest > t.slots*chartPoints {
		t.slots *= 2
	}
	t.piece = r.Settings.slot * time.Duration(t.slots)
	pieces := (longest+t.slots-1)/t.slots + 1
	pieces += (timeLabels - (pieces-1)%timeLabels) % timeLabels // so that labels are evenly apart
	digits := 0
	if time.Duration(pieces)*t.piece < 2*time.Minute {
		digits = 1
	}
	for i := range pieces {
		t.labels = append(t.labels, fmt.Sprintf("%.*f s", digits, (time.Duration(i)*t.piece).Seconds()))
	}
	for i := range r.Settings.Providers {
		var runs [][]flowSlot
		for _, run := range r.Runs {
			runs = append(runs, gather(run.Providers[i].slots, t.slots, pieces))
		}
		t.flows = append(t.flows, runs)
	}
	for _, run := range r.Runs {
		t.courses = append(t.courses, run.course.gather(t.slots, pieces))
	}
	return t
}

// series is a figure of each piece.
func (t timeline) series(provider, run int, of func(s flowSlot) float64) []float64 {
	values := make([]float64, len(t.labels))
	for i, s := range t.flows[provider][run] {
		values[i] = of(s)
	}
	return values
}

// level is a line that stays where it is.
func (t timeline) level(v float64) []float64 { return slices.Repeat([]float64{v}, len(t.labels)) }

func (r *report) names() []string {
	var names []string
	for _, run := range r.Runs {
		names = append(names, run.Strategy)
	}
	return names
}

func (r *report) topics() []topic {
	t := r.timeline()
	list := []topic{r.overTime(t), r.arrived(t), r.refused(t), r.bound(t), r.denials(), r.asking(), r.shares()}
	if len(r.Settings.Providers) > 1 {
		list = slices.Insert(list, 4, r.use())
	}
	return list
}

// niceCeil is the next of 1, 2, 4, 6, 8 times a power of ten.
func niceCeil(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 6, 8} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}

func (r *report) denials() topic {
	limits := map[string]bool{}
	for _, run := range r.Runs {
		for name := range run.Kept {
			limits[name] = true
		}
	}
	c := chart{labels: slices.Sorted(maps.Keys(limits)), bars: true, height: 240}
	for _, run := range r.Runs {
		if run.Strategy == strategyNone && len(r.Runs) > 1 {
			continue
		}
		values := make([]float64, len(c.labels))
		for i, name := range c.labels {
			values[i] = float64(run.Kept[name])
		}
		c.names, c.values = append(c.names, run.Strategy), append(c.values, values)
		c.colors = append(c.colors, slices.Index(r.names(), run.Strategy))
	}
	if len(c.labels) == 0 {
		c.labels = []string{"no limit"}
		for i := range c.values {
			c.values[i] = []float64{0}
		}
	}
	c.ceil = ceilOf(c.values)
	return topic{ID: "denials", Title: "Denials by limit",
		Text:   "Asks that each limit denied; of split, those that it made wait in line. A client that is denied asks again, and is counted again.",
		Charts: []titledChart{{chart: c}}}
}

func (r *report) asking() topic {
	c := chart{names: r.names(), labels: []string{"p50", "p90", "p99", "p99.9"}, bars: true, height: 260}
	for _, run := range r.Runs {
		l := run.Decision
		c.values = append(c.values, []float64{l.P50, l.P90, l.P99, l.P999})
	}
	c.ceil = ceilOf(c.values)
	return topic{ID: "latency", Title: "How long asking takes",
		Text:   "Milliseconds from when an ask was due to its answer, yes or no. Who asks nobody has none. All of it runs on one machine here.",
		Charts: []titledChart{{chart: c}}}
}

// keysShown are those with the largest share.
const keysShown = 5

func (r *report) shares() topic {
	total := map[string]int64{}
	for _, run := range r.Runs {
		for key, n := range run.byKey {
			total[key] += n
		}
	}
	keys := slices.SortedFunc(maps.Keys(total), func(a, b string) int {
		return cmp.Or(cmp.Compare(total[b], total[a]), cmp.Compare(a, b))
	})
	c := chart{names: r.names(), bars: true, height: 260}
	for i, key := range keys[:min(keysShown, len(keys))] {
		name := fmt.Sprintf("%d", i+1)
		if r.Settings.ownKeys {
			key = limiter.KeyID(key)[:8] // a trace may have real ones
		}
		c.labels = append(c.labels, cmp.Or(shorten(key), name))
	}
	c.labels = append(c.labels, "others")
	for _, run := range r.Runs {
		values := make([]float64, len(c.labels))
		for key, n := range run.byKey {
			at := min(slices.Index(keys, key), len(values)-1)
			values[at] += 100 * float64(n) / max(1, float64(run.TokensAdmitted))
		}
		c.values = append(c.values, values)
	}
	c.ceil = ceilOf(c.values)
	return topic{ID: "keys", Title: "Share per key",
		Text:   "Percent of all admitted tokens that went to the keys with most of them.",
		Charts: []titledChart{{chart: c}}}
}

// shorten leaves of the keys that a replay deals their number.
func shorten(key string) string {
	var n int
	if _, err := fmt.Sscanf(key, dealtKey, &n); err == nil {
		return fmt.Sprintf("key %d", n)
	}
	return key
}

func ceilOf(values [][]float64) float64 {
	most := 0.0
	for _, series := range values {
		for _, v := range series {
			if v > most { // a gap is not
				most = v
			}
		}
	}
	return niceCeil(most)
}
