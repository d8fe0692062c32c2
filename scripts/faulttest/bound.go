package main

import (
	"cmp"
	"math"
	"slices"
)

// span is the time between two moments on the machine's clock, in µs. What was decided in between was decided once, at a
// moment that nobody but the store knows.
type span struct{ from, to int64 }

// rate is so many units per so many µs.
type rate struct{ units, per int64 }

// scaled is a number of units of a rate in 1/per of a unit, in which all about it is exact.
func (r rate) scaled(units int64) int64 { return units * r.per }

// peak is the most that grants of one unit each were ahead of a rate, in 1/per of a unit: over all intervals, the grants
// that were certainly decided within, less what the rate brings in that time. A limit of that rate and a burst is kept only
// if its peak is no more than the burst. Where it was decided is not known exactly, so a limit that is kept never seems to
// be broken.
func peak(grants []span, r rate) int64 {
	if len(grants) == 0 {
		return 0
	}
	begins := slices.SortedFunc(slices.Values(grants), func(a, b span) int { return cmp.Compare(a.from, b.from) })
	// Intervals begin where a grant does and end where one does. Those that end at the last seen end are the leaves of a
	// tree: all from a grant's own beginning or an earlier one have one grant more from then on.
	ends := make([]int, len(begins))
	for i := range ends {
		ends[i] = i
	}
	slices.SortFunc(ends, func(a, b int) int { return cmp.Compare(begins[a].to, begins[b].to) })
	t, first, most := newSums(len(begins)), begins[0].from, int64(math.MinInt64)
	for _, i := range ends {
		t.set(i, r.per, r.units*(begins[i].from-first))
		most = max(most, t.best()-r.units*(begins[i].to-first))
	}
	return most
}

// sums is a row of places, each of which may have a weight and a start; best is the largest start plus all weights from its
// place on.
type sums struct {
	places     int
	sum, reach []int64 // of a tree over the places, the root at 1
}

const never = math.MinInt64 / 2

func newSums(n int) *sums {
	places := 1
	for places < n {
		places *= 2
	}
	t := &sums{places, make([]int64, 2*places), make([]int64, 2*places)}
	for i := range t.reach {
		t.reach[i] = never
	}
	return t
}

func (t *sums) set(place int, weight, start int64) {
	i := t.places + place
	t.sum[i], t.reach[i] = weight, start+weight
	for i /= 2; i > 0; i /= 2 {
		t.sum[i] = t.sum[2*i] + t.sum[2*i+1]
		t.reach[i] = max(t.reach[2*i+1], t.reach[2*i]+t.sum[2*i+1])
	}
}

func (t *sums) best() int64 { return t.reach[1] }

// mostAtOnce is how many spans there were at the fullest moment. One that ends where another begins has ended.
func mostAtOnce(spans []span) int {
	most, now := 0, 0
	for _, e := range edges(spans, 1) {
		now += e.step
		most = max(most, now)
	}
	return most
}

// overlap is how long there was a span of both, in µs.
func overlap(a, b []span) (total int64) {
	const other = 1 << 32 // counts the spans of b beside those of a
	all := append(edges(a, 1), edges(b, other)...)
	sortEdges(all)
	now := 0
	for i, e := range all {
		if now%other > 0 && now/other > 0 {
			total += e.at - all[i-1].at
		}
		now += e.step
	}
	return total
}

// edge is where a span begins or ends.
type edge struct {
	at   int64
	step int
}

func edges(spans []span, step int) []edge {
	var all []edge
	for _, s := range spans {
		all = append(all, edge{s.from, step}, edge{s.to, -step})
	}
	sortEdges(all)
	return all
}

func sortEdges(all []edge) {
	slices.SortFunc(all, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) })
}
