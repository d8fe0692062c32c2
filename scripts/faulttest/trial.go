package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// trial is one site and what happens there.
type trial struct {
	name, what string
	short      bool // part of a short run
	open       opener
}

var trials = []trial{
	{"stopped", "Redis is stopped, and goes on", true, one(stopped)},
	{"emptied", "Redis is killed, and comes back empty", true, one(emptied)},
	{"failover", "the primary is killed, and Sentinel promotes its replica", false, replicated},
	{"full", "Redis has no memory left, and then some", false, one(full)},
	{"slow", "Redis takes 300 ms longer", false, distant(slow)},
	{"dropped", "connections to Redis are reset", false, distant(dropped)},
	{"half-open", "connections to Redis go silent; new ones too, until it is over", true, distant(halfOpen)},
	{"flushed", "Redis forgets its scripts, twice", false, one(flushed)},
	{"clock", "Redis' clock goes 30 s forward, and back", false, clocked},
	{"shard", "one master of three of a cluster is killed, and comes back empty", false, sharded},
	{"absent", "permitd starts before Redis does", true, missing},
}

// pace is how long the parts of a trial take. It ends when all has been normal for the time calm.
type pace struct{ during, calm time.Duration }

const (
	// before is longer than an instance takes to hear of others, so that they agree on how many they are.
	before = 3500 * time.Millisecond
	// warm is for how long there is load before the fault.
	warm = 1500 * time.Millisecond
	// patience is for how long a trial goes on after its fault where things don't get normal.
	patience = 10 * time.Second
)

var (
	fullPace  = pace{5 * time.Second, 3 * time.Second}
	shortPace = pace{2 * time.Second, time.Second}
)

// ground is what trials have in common.
type ground struct {
	binary, dir string // the binary, and where logs are
	seed        uint64
	progress    io.Writer
}

// start runs instances at a site.
func (g *ground) start(ctx context.Context, name string, s *site) (all []*instance, err error) {
	file := filepath.Join(g.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(policies(s.providers)), 0o600); err != nil {
		return nil, err
	}
	for n := range numInstances {
		i, err := startInstance(ctx, g.binary, filepath.Join(g.dir, fmt.Sprintf("%s-%d.log", name, n+1)), append(s.args, "--policies", file)...)
		if err != nil {
			return all, err
		}
		s.later(i.end)
		all = append(all, i)
	}
	return all, nil
}

// run tries, and judges.
func (t *trial) run(ctx context.Context, g *ground, pace pace, std standard) (*verdict, error) {
	s := newSite()
	defer s.close()
	if err := t.open(ctx, s); err != nil {
		return nil, err
	}
	instances, err := g.start(ctx, t.name, s)
	if err != nil {
		return nil, err
	}
	if !s.absent {
		sleep(ctx, before)
	}
	l, docs := newLoad(instances, s.providers, g.seed), untuned(s.providers[shared])
	running := begin(l)
	defer running.end()
	if !s.absent {
		sleep(ctx, warm)
		if docs, err = tune(ctx, instances, s.providers[shared]); err != nil {
			return nil, err
		}
	}
	p := &phase{fault: s.fault, site: s, stalls: running.stalls}
	if err := p.happen(ctx, pace.during); err != nil {
		return nil, err
	}
	p.calm(ctx, l, pace.calm)
	running.end()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := p.take(l, math.MaxInt64); err != nil {
		return nil, err
	}
	v := p.judge(std)
	v.strange(l.strange)
	docs.lost, docs.spared = s.fault.loses, s.fault.spares
	v.aftermath(ctx, l, docs, func(provider int) bool { return !s.fault.loses || !s.affected(provider) })
	return v, nil
}

// happen makes the fault, and ends it.
func (p *phase) happen(ctx context.Context, d time.Duration) error {
	p.begun.from = micros(time.Now())
	if err := p.fault.begin(ctx); err != nil {
		return p.fault.wrapped("begin", err)
	}
	p.begun.to = micros(time.Now())
	if !p.fault.brief {
		sleep(ctx, d)
	}
	if err := p.fault.end(ctx); err != nil {
		return p.fault.wrapped("end", err)
	}
	p.usable = micros(time.Now())
	return nil
}

// calm waits until all has been normal for some time, or that takes too long.
func (p *phase) calm(ctx context.Context, l *load, calm time.Duration) {
	for since := p.usable; ctx.Err() == nil; since = max(since, l.lastAbnormal()) {
		now := time.Now()
		if now.Sub(time.UnixMicro(since)) > calm || now.Sub(time.UnixMicro(p.usable)) > patience {
			return
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

// take has a phase take those of a load's answers and holds that are its own: asked for since it began, and before the next.
// The load has ended.
func (p *phase) take(l *load, next int64) error {
	for _, a := range l.answers {
		if a.from >= p.from && a.from < next {
			p.answers = append(p.answers, a)
		}
	}
	for _, h := range l.holds {
		if h.from >= p.from && h.from < next {
			p.holds = append(p.holds, h)
		}
	}
	for n, i := range l.instances {
		begun, err := i.outages()
		if err != nil {
			return err
		}
		for provider, name := range l.providers {
			for _, at := range begun[name] {
				if at >= p.from && at < next {
					p.outages[n][provider]++
				}
			}
		}
	}
	return nil
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// underLoad is a load that runs.
type underLoad struct {
	stalls *stalls
	stop   context.CancelFunc
	done   sync.WaitGroup
}

func begin(l *load) *underLoad {
	ctx, stop := context.WithCancel(context.Background())
	u := &underLoad{stalls: &stalls{}, stop: stop}
	u.done.Go(func() { l.run(ctx) })
	u.done.Go(func() { u.stalls.watch(ctx) })
	return u
}

// end stops asking, and waits until all is answered and settled.
func (u *underLoad) end() {
	u.stop()
	u.done.Wait()
}
