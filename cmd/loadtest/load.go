package main

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"
)

// carryOut puts the load that draw makes through each strategy, and reports.
func (c *loadFlags) carryOut(ctx context.Context, s streams, draw drawing) error {
	p, err := c.plan(draw)
	if err != nil {
		return usageError{err}
	}
	if c.PrintPolicy {
		_, err := io.WriteString(s.out, p.policyText)
		return err
	}
	table := s.out
	if c.JSON == "-" || c.Report == "-" {
		table = s.err
	}
	if c.Apply {
		if err := applyPolicies(ctx, trimSlashes(c.Permitd)[0], c.Token, p); err != nil {
			return err
		}
	}
	warnings, err := policyDiffers(ctx, c, p)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(s.err, "loadtest: warning:", w)
	}
	settings := c.settings(ctx, p)
	settings.write(table)
	r := &report{Settings: settings}
	for _, strategy := range c.Strategy {
		results, err := c.drive(ctx, p, strategy, s.err)
		if err != nil {
			return err
		}
		run := newRun(strategy, results, p)
		run.write(table, len(c.Strategy) > 1)
		if r.Runs = append(r.Runs, run); ctx.Err() != nil {
			break
		}
	}
	if len(r.Runs) > 1 {
		r.compare(table)
	}
	eventsErr := c.addEvents(r)
	r.writeEvents(table)
	if err := c.writeFiles(r, s); err != nil {
		return err
	}
	if eventsErr != nil {
		return usageError{eventsErr}
	}
	if r.broken() {
		return errBroken
	}
	return nil
}

func (c *loadFlags) writeFiles(r *report, s streams) error {
	if c.JSON != "" {
		if err := r.writeJSON(c.JSON, s.out); err != nil {
			return err
		}
	}
	if c.Report != "" {
		return r.writeHTML(c.Report, s.out)
	}
	return nil
}

// addEvents adds what --events says. Without them the report is as good as ever.
func (c *loadFlags) addEvents(r *report) error {
	if c.Events == "" {
		return nil
	}
	events, err := readEvents(c.Events)
	r.happened(events)
	return err
}

// results are what the clients of one strategy met.
type results struct {
	outcome
	providers   []providerResults // as in the plan
	course      *course
	began       time.Time
	elapsed     time.Duration
	interrupted bool
}

// drive runs the clients of one strategy through to the end.
func (c *loadFlags) drive(ctx context.Context, p *plan, strategy string, stderr io.Writer) (*results, error) {
	bar := newProgress(c.Progress, strategy, len(p.trace.rows), stderr)
	tally := newTally(bar.step)
	all := &clients{
		http: newHTTPClient(), upstream: newUpstreamClient(p.reserving.calls()), token: c.Token,
		costs: p.costs, patience: c.Patience, seed: c.Seed, replicas: c.Replicas,
		reserving: p.reserving, runID: crand.Text(), tally: tally,
	}
	stopStrategy, err := c.start(ctx, p, strategy, all)
	if err != nil {
		return nil, err
	}
	defer stopStrategy()
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	tally.course = newCourse(p.slot(), clock)
	mocks, stop, err := p.serveProviders(clock)
	if err != nil {
		return nil, fmt.Errorf("start the mock provider: %w", err)
	}
	defer stop()
	all.providers = mocks.byName()
	all.run(ctx, p.trace, p.speed)
	bar.finish()
	all.http.CloseIdleConnections()
	all.upstream.CloseIdleConnections()
	o := tally.read()
	if p.reserving == nil {
		o.Holds = nil
	}
	return &results{outcome: o, providers: mocks.read(), course: tally.course, began: began, elapsed: clock(), interrupted: ctx.Err() != nil}, nil
}

// start gives clients whom a strategy asks, until stop is called.
func (c *loadFlags) start(ctx context.Context, p *plan, strategy string, to *clients) (stop func(), err error) {
	switch strategy {
	case strategyPermitd:
		return c.startPermitd(ctx, p, to)
	case strategySplit:
		apart := localByProvider{}
		for _, pp := range p.providers {
			apart[pp.name] = newSplit(c.Replicas, pp.own, p.costs[0])
		}
		to.local = apart
	case strategyRedisRate:
		return c.startRedisRate(ctx, p, to)
	}
	return func() {}, nil
}

// startRedisRate gives clients the limits of each provider in Redis.
func (c *loadFlags) startRedisRate(ctx context.Context, p *plan, to *clients) (stop func(), err error) {
	apart, stops := localByProvider{}, stopper{}
	for _, pp := range p.providers {
		s, stop, err := newRedisRate(ctx, c.RedisURL, c.Replicas, pp.own, p.costs[0], to.runID+":"+pp.name)
		if err != nil {
			stops.stop()
			return nil, err
		}
		apart[pp.name] = s
		stops.add(stop)
	}
	to.local = apart
	return stops.stop, nil
}

// startPermitd gives clients the permitd that are named, or one of its own, behind proxies with --lossy.
func (c *loadFlags) startPermitd(ctx context.Context, p *plan, to *clients) (func(), error) {
	stop := func() {}
	to.permitd = trimSlashes(c.Permitd)
	if len(to.permitd) == 0 {
		url, stopOwn, err := startPermitd(ctx, p.policies)
		if err != nil {
			return nil, err
		}
		to.permitd, stop = []string{url}, stopOwn
	}
	if p.reserving == nil || p.reserving.lossy == 0 {
		return stop, nil
	}
	at, stopProxies, err := serveLossy(newLossyProxy(p.reserving.lossy, c.Seed, to.tally.replyLost), to.permitd)
	if err != nil {
		stop()
		return nil, err
	}
	to.permitd = at
	return func() { stopProxies(); stop() }, nil
}

// run starts each request at its time, and returns when all have come to their end.
func (c *clients) run(ctx context.Context, t *trace, speed float64) {
	var running sync.WaitGroup
	defer running.Wait()
	began := time.Now()
	for i := range t.rows {
		start := began.Add(time.Duration(float64(t.rows[i].At) / speed))
		if sleep(ctx, time.Until(start)) != nil {
			return
		}
		c.tally.start()
		running.Go(func() { c.serve(ctx, i, &t.rows[i], start) })
	}
}
