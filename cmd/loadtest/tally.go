package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tally counts what happens to the requests of a run.
type tally struct {
	onDone func()  // called when a request has come to its end
	course *course // nil: it is not kept

	mu       sync.Mutex
	counts   counts
	holds    holdCounts
	errors   map[string]int64 // by kind
	example  map[string]string
	unit     map[string]bool  // units that permitd ignored
	kept     map[string]int64 // asks that each limit denied or made wait
	byKey    map[string]int64 // tokens that were admitted
	wait     *hdrhistogram.Histogram
	decision *hdrhistogram.Histogram
	reach    *hdrhistogram.Histogram
}

// counts of requests and asks.
type counts struct {
	Requests    int64 `json:"requests"`              // that were started
	Served      int64 `json:"served"`                // admitted by the provider in the end
	GaveUp      int64 `json:"gave_up"`               // out of patience
	Failed      int64 `json:"failed"`                // an answer was neither yes nor no
	Asked       int64 `json:"asked"`                 // asks for a permit; a request asks again after each refusal
	Allowed     int64 `json:"allowed"`               // asks that were granted
	Denied      int64 `json:"denied"`                // asks that were denied
	Degraded    int64 `json:"degraded"`              // asks that were granted or denied by a permitd that does not reach its store
	NoDecision  int64 `json:"no_decision"`           // asks without an answer, or that were answered 502, 503 or 504; they were asked again
	Upstream429 int64 `json:"upstream_429"`          // calls that the provider refused
	ByPlatform  int64 `json:"upstream_429_platform"` // of these, those that its limit of the platform refused
	ByAccount   int64 `json:"upstream_429_account"`  // and those that its limit of the account refused; some are both
}

// Latencies are kept from a microsecond to an hour with three digits.
const (
	lowestLatency  = 1
	highestLatency = int64(time.Hour / time.Microsecond)
)

func newTally(onDone func()) *tally {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(lowestLatency, highestLatency, 3) }
	return &tally{
		onDone: onDone,
		errors: map[string]int64{}, example: map[string]string{}, unit: map[string]bool{}, kept: map[string]int64{}, byKey: map[string]int64{},
		wait: histogram(), decision: histogram(), reach: histogram(),
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	// In range, so there is no error.
	_ = h.RecordValue(min(highestLatency, max(lowestLatency, int64(d/time.Microsecond))))
}

func (t *tally) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Requests++
}

// asked takes in an ask for a permit. latency is from the moment at which it was meant to be sent.
func (t *tally) asked(latency time.Duration, v verdict, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Asked++
	t.course.add(kindOf(v, err), latency)
	switch {
	case noDecision(err):
		t.counts.NoDecision++
		t.note(err)
		return
	case err != nil:
		return
	case v.granted:
		t.counts.Allowed++
	default:
		t.counts.Denied++
	}
	if v.degraded {
		t.counts.Degraded++
	}
	for _, limit := range v.by {
		t.kept[limit]++
	}
	record(t.decision, latency)
}

// reached takes in a call that the provider answered, so long after its permit was asked for: the call was under way for
// less than that when it arrived.
func (t *tally) reached(latency time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record(t.reach, latency)
}

func (t *tally) ignored(units []string) {
	if len(units) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range units {
		t.unit[u] = true
	}
}

// upstreamRefused takes in a 429 of the provider, and which of its limits refused.
func (t *tally) upstreamRefused(by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Upstream429++
	for limit := range strings.SplitSeq(by, ",") {
		switch limit {
		case limitPlatform:
			t.counts.ByPlatform++
		case limitAccount:
			t.counts.ByAccount++
		}
	}
}

// finish takes in a request that was admitted, so long after it was meant to start.
func (t *tally) finish(latency time.Duration, r *row) {
	t.mu.Lock()
	t.byKey[r.Key] += tokensOf(r)
	t.counts.Served++
	record(t.wait, latency)
	t.mu.Unlock()
	t.onDone()
}

func (t *tally) giveUp() {
	t.mu.Lock()
	t.counts.GaveUp++
	t.mu.Unlock()
	t.onDone()
}

func (t *tally) fail(err error) {
	t.mu.Lock()
	t.counts.Failed++
	t.note(err)
	t.mu.Unlock()
	t.onDone()
}

// note counts an error, and keeps the first of its kind. The tally is locked.
func (t *tally) note(err error) {
	kind := "other"
	var call *callError
	if errors.As(err, &call) {
		kind = call.kind()
	}
	t.errors[kind]++
	if t.example[kind] == "" {
		t.example[kind] = err.Error()
	}
}

// latency are percentiles in milliseconds.
type latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99.9_ms"`
	Max   float64 `json:"max_ms"`
}

func latencyOf(h *hdrhistogram.Histogram) latency {
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	return latency{
		Count: h.TotalCount(), Mean: h.Mean() / 1000, Max: ms(h.Max()),
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)), P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)),
	}
}

// outcome is a tally at the end of a run.
type outcome struct {
	counts
	Holds        *holdCounts      `json:"holds,omitempty"` // only with --reserve
	Errors       map[string]int64 `json:"errors"`
	Examples     []string         `json:"error_examples,omitempty"`
	IgnoredUnits []string         `json:"ignored_units,omitempty"`
	Kept         map[string]int64 `json:"kept_by_limit"` // asks that were denied or made to wait; several limits may deny one
	Wait         latency          `json:"wait"`
	Decision     latency          `json:"decision"`
	Reach        latency          `json:"reach"`

	byKey map[string]int64
}

func (t *tally) read() outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	holds := t.holds
	o := outcome{
		Holds:  &holds,
		counts: t.counts, Errors: maps.Clone(t.errors), IgnoredUnits: slices.Sorted(maps.Keys(t.unit)),
		Kept: maps.Clone(t.kept), byKey: maps.Clone(t.byKey),
		Wait: latencyOf(t.wait), Decision: latencyOf(t.decision), Reach: latencyOf(t.reach),
	}
	for _, kind := range slices.Sorted(maps.Keys(t.example)) {
		o.Examples = append(o.Examples, t.example[kind])
	}
	return o
}
