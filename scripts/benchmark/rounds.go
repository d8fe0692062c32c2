package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"
)

// contenders are all of those whose name matches, in the order in which they take turns: those that are compared stand
// together.
func (b *bed) contenders(ctx context.Context, names *regexp.Regexp) ([]*contender, error) {
	makers := append(b.deciding(), b.web()...)
	var all []*contender
	for _, m := range makers {
		if !names.MatchString(m.name) {
			continue
		}
		c := m.contender
		for i := range m.callers {
			call, err := m.caller(ctx, i)
			if err != nil {
				return nil, fmt.Errorf("set up %s: %w", c.name, err)
			}
			c.calls = append(c.calls, call)
		}
		all = append(all, &c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no contender matches %q", names)
	}
	return all, nil
}

// maker makes a contender ready when it is wanted.
type maker struct {
	contender
	callers int
	caller  func(ctx context.Context, n int) (call, error)
}

// rounds measures every contender once a round, after a first try that does not count: it opens connections and loads
// scripts.
func (b *bed) rounds(ctx context.Context, all []*contender, rounds int, d time.Duration, progress io.Writer) error {
	for _, c := range all {
		if _, err := c.measure(ctx, b.redis, d/5); err != nil {
			return err
		}
	}
	for n := range rounds {
		fmt.Fprintf(progress, "round %d of %d\n", n+1, rounds)
		for _, c := range all {
			s, err := c.measure(ctx, b.redis, d)
			if err != nil {
				return err
			}
			c.rounds = append(c.rounds, s)
		}
	}
	return nil
}

// median is the middle of the rounds' figures.
func median(rounds []sample, figure func(sample) float64) float64 {
	var all []float64
	for _, s := range rounds {
		all = append(all, figure(s))
	}
	return middle(all)
}

// middle is the median.
func middle(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// The figures of a sample.
func perSecond(s sample) float64   { return s.PerSecond }
func redisMicros(s sample) float64 { return s.RedisMicros }
func p50(s sample) float64         { return s.P50Micros }
func p99(s sample) float64         { return s.P99Micros }
func allocs(s sample) float64      { return s.Allocs }

// nanos is the time between two decisions: of one caller, what one takes.
func nanos(s sample) float64 { return 1e9 / s.PerSecond }

// middles are the medians of all figures.
func middles(rounds []sample) sample {
	return sample{
		PerSecond:   median(rounds, perSecond),
		RedisMicros: median(rounds, redisMicros),
		P50Micros:   median(rounds, p50),
		P99Micros:   median(rounds, p99),
		Allocs:      median(rounds, allocs),
	}
}
