package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// soak is scripts/soak.
type soak struct {
	flags
	Minutes float64 `default:"10" help:"For how long faults happen."`
}

// Help is printed below the flags.
func (*soak) Help() string {
	return "What happens, when and for how long is up to chance. Data is lost in the first half only, so that the sums of what was\n" +
		"granted in the second can be compared with what is charged.\n\n" + formulas + "\n\n" +
		"Exit codes: 0; 1 when something was not as it has to be; 2 for a fault of the command line."
}

// Validate checks the command line.
func (s *soak) Validate() error {
	if s.Minutes <= 0 || s.Minutes > 24*60 {
		return errors.New("--minutes must be more than 0 and at most 1440")
	}
	return nil
}

func (s *soak) try(ctx context.Context, g *ground, t *table) (failed int, err error) {
	at := newSite()
	defer at.close()
	var all []fault
	var redis *proc.Redis
	if err := distant(func(r *proc.Redis, p *proxy) fault {
		redis = r
		all = []fault{emptied(r), stopped(r), full(r), flushed(r), slow(r, p), dropped(r, p), halfOpen(r, p)}
		return fault{}
	})(ctx, at); err != nil {
		return 0, err
	}
	at.args = append(at.args, "--min-instances", strconv.Itoa(numInstances)) // an emptied Redis forgets how many there are
	instances, err := g.start(ctx, "soak", at)
	if err != nil {
		return 0, err
	}
	warming := begin(newLoad(instances, at.providers, g.seed))
	sleep(ctx, 2*before)
	warming.end()
	sleep(ctx, before)
	was, err := use(ctx, redis, instances)
	if err != nil {
		return 0, err
	}
	docs, err := tune(ctx, instances, at.providers[shared])
	if err != nil {
		return 0, err
	}

	l := newLoad(instances, at.providers, g.seed+1)
	l.nextEra() // the load before has charged for its own models
	running := begin(l)
	defer running.end()
	random := rand.New(rand.NewPCG(g.seed, 1))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)))
	}
	var phases []*phase
	begun, length, lost := time.Now(), time.Duration(s.Minutes*float64(time.Minute)), false
	for time.Since(begun) < length && ctx.Err() == nil {
		f := all[random.IntN(len(all))]
		if f.loses && time.Since(begun) > length/2 {
			continue
		}
		p := &phase{fault: f, site: at, stalls: running.stalls, from: micros(time.Now())}
		sleep(ctx, between(time.Second, 4*time.Second))
		if err := p.happen(ctx, between(time.Second, 5*time.Second)); err != nil {
			return 0, err
		}
		p.calm(ctx, l, time.Second)
		fmt.Fprintf(g.progress, "%3.0f s: %s\n", time.Since(begun).Seconds(), f.name)
		if f.loses {
			lost = true
			l.nextEra()
		}
		phases = append(phases, p)
	}
	running.end()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	for i, p := range phases {
		next := int64(math.MaxInt64)
		if i+1 < len(phases) {
			next = phases[i+1].from
		}
		if err := p.take(l, next); err != nil {
			return 0, err
		}
		v := p.judge(goals)
		t.rows = append(t.rows, row{p.fault.name, fmt.Sprintf("%.0f s after the beginning", time.UnixMicro(p.from).Sub(begun).Seconds()), v, nil})
	}
	v := &verdict{}
	v.strange(l.strange)
	docs.lost = lost
	v.aftermath(ctx, l, docs, func(int) bool { return true })
	v.eventually("what is used is what was used before, about", restTime, func() string { return was.grown(ctx, redis, instances) })
	if is, err := use(ctx, redis, instances); err == nil {
		fmt.Fprintf(t.out, "before: %s\nafter:  %s\n\n", was, is)
	}
	t.rows = append(t.rows, row{"at the end", "when all was quiet again", v, nil})
	return t.write(), nil
}
