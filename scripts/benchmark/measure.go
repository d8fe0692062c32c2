package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// contender is one thing that is measured.
type contender struct {
	name  string
	calls []call // one for each caller; callers call at the same time
	per   int    // decisions in a call
	redis bool   // Redis has a part in it
	timed bool   // the latency of each call is taken

	rounds []sample
}

// call is made again and again by one caller. An error ends the run: also when the decision is not the expected one.
type call func(context.Context) error

// sample is what one round of a contender came to.
type sample struct {
	PerSecond   float64 `json:"per_second"`
	RedisMicros float64 `json:"redis_cpu_us,omitzero"` // per decision
	P50Micros   float64 `json:"p50_us,omitzero"`
	P99Micros   float64 `json:"p99_us,omitzero"`
	Allocs      float64 `json:"allocs"` // per decision
}

// tally is what one caller did.
type tally struct {
	calls   int
	latency *hdrhistogram.Histogram // nil unless it is taken
	err     error
}

// measure lets a contender's callers call for as long as d.
func (c *contender) measure(ctx context.Context, redis *proc.Redis, d time.Duration) (sample, error) {
	runtime.GC() // what the one before left behind
	cpu, err := redis.CPU(ctx)
	if err != nil {
		return sample{}, err
	}
	allocs := allocated()
	all, elapsed := c.work(ctx, d)
	allocs = allocated() - allocs
	after, err := redis.CPU(ctx)
	if err != nil {
		return sample{}, err
	}
	sum := tally{latency: newLatency()}
	for _, t := range all {
		if t.err != nil {
			return sample{}, fmt.Errorf("%s: %w", c.name, t.err)
		}
		sum.calls += t.calls
		if t.latency != nil {
			sum.latency.Merge(t.latency)
		}
	}
	decisions := float64(sum.calls * c.per)
	s := sample{PerSecond: decisions / elapsed.Seconds(), Allocs: float64(allocs) / decisions}
	if c.redis {
		s.RedisMicros = float64((after - cpu).Microseconds()) / decisions
	}
	if c.timed {
		s.P50Micros = float64(sum.latency.ValueAtQuantile(50)) / 1e3
		s.P99Micros = float64(sum.latency.ValueAtQuantile(99)) / 1e3
	}
	return s, nil
}

// work has all callers call until d is over, or one of them fails.
func (c *contender) work(ctx context.Context, d time.Duration) ([]tally, time.Duration) {
	var stop atomic.Bool
	var working sync.WaitGroup
	all := make([]tally, len(c.calls))
	began := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	for i, call := range c.calls {
		working.Go(func() {
			all[i] = c.spin(ctx, call, &stop)
			if all[i].err != nil {
				stop.Store(true)
			}
		})
	}
	working.Wait()
	return all, time.Since(began)
}

// spin calls at least once, and until it is told to stop.
func (c *contender) spin(ctx context.Context, call call, stop *atomic.Bool) tally {
	var t tally
	if c.timed {
		t.latency = newLatency()
	}
	for {
		var began time.Time
		if c.timed {
			began = time.Now()
		}
		if t.err = call(ctx); t.err != nil {
			return t
		}
		if c.timed {
			_ = t.latency.RecordValue(min(time.Since(began).Nanoseconds(), t.latency.HighestTrackableValue()))
		}
		if t.calls++; stop.Load() {
			return t
		}
	}
}

// newLatency holds nanoseconds up to 10 s.
func newLatency() *hdrhistogram.Histogram { return hdrhistogram.New(1, 10e9, 3) }

// allocated is the number of objects that this process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
