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
}

// points of time that a chart has, about.
const chartPoints = 120

// timeLabels is into how many parts labels divide the time on a wide chart; a narrow one has half as many.
const timeLabels = 6

// timeline is what all charts over time have in common.
type timeline struct {
	slots  int           // in each piece
	piece  time.Duration // how long it is
	labels []string
	flows  [][]flowSlot // of each run
}

func (r *report) timeline() timeline {
	longest := 1
	for _, run := range r.Runs {
		longest = max(longest, len(run.slots))
	}
	t := timeline{slots: (longest + chartPoints - 1) / chartPoints}
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
	for _, run := range r.Runs {
		t.flows = append(t.flows, gather(run.slots, t.slots, pieces))
	}
	return t
}

// series is a figure of each piece.
func (t timeline) series(run int, of func(i int, s flowSlot) float64) []float64 {
	values := make([]float64, len(t.labels))
	for i, s := range t.flows[run] {
		values[i] = of(i, s)
	}
	return values
}

func (r *report) names() []string {
	var names []string
	for _, run := range r.Runs {
		names = append(names, run.Strategy)
	}
	return names
}

func (r *report) topics() []topic {
	t := r.timeline()
	return []topic{r.arrived(t), r.refused(t), r.bound(t), r.denials(), r.asking(), r.shares()}
}

// perSecond is the provider's rate.
func (r *report) perSecond() float64 {
	return float64(r.Settings.Amount) / r.Settings.per.Seconds()
}

func (r *report) arrived(t timeline) topic {
	top := topic{ID: "arrived", Title: "What reached the provider",
		Text: "Tokens per second that arrived at the provider, and its capacity. Mind the scales. What arrives above the capacity is either taken from its burst or refused."}
	seconds := t.piece.Seconds()
	for i, run := range r.Runs {
		all := t.series(i, func(_ int, s flowSlot) float64 { return float64(s.admitted+s.refused) / seconds })
		admitted := t.series(i, func(_ int, s flowSlot) float64 { return float64(s.admitted) / seconds })
		capacity := t.series(i, func(int, flowSlot) float64 { return r.perSecond() })
		top.Charts = append(top.Charts, titledChart{run.Strategy, chart{
			names: []string{"arrived", "admitted", "capacity"}, colors: []int{red, blue, black}, values: [][]float64{all, admitted, capacity}, labels: t.labels, height: 210}})
	}
	// Those that keep to the capacity have the same scale, and are not flattened by one that does not.
	for i := range top.Charts {
		top.Charts[i].ceil = niceCeil(max(ceilOf(top.Charts[i].values), 2.5*r.perSecond()))
	}
	return top
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

func (r *report) refused(t timeline) topic {
	c := chart{names: r.names(), labels: t.labels, height: 240}
	for i := range r.Runs {
		c.values = append(c.values, t.series(i, func(_ int, s flowSlot) float64 { return float64(s.turnedAway) / t.piece.Seconds() }))
	}
	c.ceil = ceilOf(c.values)
	return topic{ID: "refused", Title: "Upstream 429s", Text: "Calls per second that the provider refused.", Charts: []titledChart{{"", c}}}
}

// bound shows how far what was admitted is ahead of the rate, and the most that burst + rate · w allows.
func (r *report) bound(t timeline) topic {
	c := chart{names: append(r.names(), "bound"), labels: t.labels, height: 260}
	for i := range r.Runs {
		c.values = append(c.values, t.series(i, func(_ int, s flowSlot) float64 { return float64(s.ahead) }))
		c.colors = append(c.colors, i)
	}
	c.colors = append(c.colors, black)
	c.values = append(c.values, t.series(0, func(int, flowSlot) float64 { return float64(r.Settings.bound) }))
	c.ceil = ceilOf(c.values)
	return topic{ID: "bound", Title: "Admitted, and the bound",
		Text:   "In any time w the provider admits at most burst + rate · w. Drawn is how many tokens it had admitted beyond rate · w, for the worst w that ends then; the bound is its burst. A line at the bound means that the provider had nothing left to give.",
		Charts: []titledChart{{"", c}}}
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
		Charts: []titledChart{{"", c}}}
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
		Charts: []titledChart{{"", c}}}
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
		Charts: []titledChart{{"", c}}}
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
	for _, v := range values {
		if len(v) > 0 {
			most = max(most, slices.Max(v))
		}
	}
	return niceCeil(most)
}
