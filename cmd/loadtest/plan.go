package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// plan is a load worked out: everything that the flags and the trace leave open is settled. Durations are those of the
// run, divided by the speed.
type plan struct {
	trace      *trace
	costs      []costRule
	assertions []assertion
	reserving  *reserving // nil without --reserve

	speed      float64
	meanTokens float64 // of the trace, per per
	per        time.Duration
	providers  []*providerPlan // by load, the largest first
	attainable float64         // share of the providers' capacity that the policy lets through; 0 when not known

	policyText string
	policies   *policyfile.File
}

// drawing makes a trace, of which each request names a provider, and says how many times faster than its times it is put
// through. Policies are the user's, or nil.
type drawing func(policies *policyfile.File) (t *trace, speed float64, err error)

// plan works the load out.
func (c *loadFlags) plan(draw drawing) (*plan, error) {
	p := &plan{}
	var err error
	if p.costs, err = parseCosts(c.Cost); err != nil {
		return nil, err
	}
	if err := c.checkStrategies(); err != nil {
		return nil, err
	}
	for _, text := range c.Assert {
		a, err := parseAssertion(text, figureNames, c.Strategy)
		if err != nil {
			return nil, err
		}
		p.assertions = append(p.assertions, a)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.readToken(); err != nil {
		return nil, err
	}
	var file *policyfile.File
	if c.Policies != "" {
		if file, err = policyfile.Load(c.Policies); err != nil {
			return nil, err
		}
	}
	if p.trace, p.speed, err = draw(file); err != nil {
		return nil, err
	}
	if !p.trace.keys {
		p.trace.dealKeys(c.Keys, c.Seed)
	}
	if p.providers, err = planProviders(p.trace); err != nil {
		return nil, err
	}
	p.reserving = c.planReserve(p)
	if err := c.size(p); err != nil {
		return nil, err
	}
	if file == nil {
		err = c.ownPolicies(p)
	} else {
		err = c.userPolicies(p, file)
	}
	if err != nil {
		return nil, err
	}
	p.readAccounts()
	return p, p.checkTTL()
}

// size works out the providers' limits.
func (c *loadFlags) size(p *plan) error {
	per, err := limiter.ParseDuration(c.Per)
	if err != nil {
		return fmt.Errorf("--per %w", err)
	}
	switch p.per = compress(per, p.speed); {
	case p.per < limiter.MinPer && p.speed == 1:
		return fmt.Errorf("--per %s is less than %s", c.Per, limiter.MinPer)
	case p.per < limiter.MinPer:
		return fmt.Errorf("--per %s divided by the speed %g is less than %s: replay slower", c.Per, p.speed, limiter.MinPer)
	}
	var total int64
	for _, pp := range p.providers {
		total += pp.tokens
	}
	if span := p.trace.span(); span > 0 {
		p.meanTokens = float64(total) / (float64(span) / float64(per))
	} else if c.Capacity.multiple {
		return errors.New("all requests of the trace are at one moment, so they have no mean: give --capacity in tokens")
	}
	whole := c.mockFlags.limits(c.Capacity.of(p.meanTokens), p.per)
	amounts, bursts, accounts := p.deal(whole.amount), p.deal(whole.burst), p.deal(whole.account)
	for i, pp := range p.providers {
		pp.mock = whole
		if pp.mock.amount, pp.mock.burst = amounts[i], bursts[i]; whole.account > 0 {
			pp.mock.account = accounts[i]
		}
		if most := pp.mock.most(); pp.largest > most {
			return fmt.Errorf("the largest request%s has %d tokens and the provider never admits more than %d at once: raise --capacity, --mock-burst or --account-capacity", p.of(pp), pp.largest, most)
		}
	}
	return nil
}

// amount is what all providers together admit per per.
func (p *plan) amount() (sum int64) {
	for _, pp := range p.providers {
		sum += pp.mock.amount
	}
	return sum
}

// asks reports whether requests are for the named provider.
func (p *plan) asks(provider string) bool {
	return slices.ContainsFunc(p.providers, func(pp *providerPlan) bool { return pp.name == provider })
}

// slot is how finely the flow of a run is kept: the trace has a few hundred.
func (p *plan) slot() time.Duration {
	return max(time.Millisecond, time.Duration(float64(p.trace.span())/p.speed/480))
}
