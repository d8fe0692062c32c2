package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// plan is a replay worked out: everything that the flags and the trace leave open is settled. Durations are those of the
// replay, divided by the speed.
type plan struct {
	trace      *trace
	costs      []costRule
	assertions []assertion
	reserving  *reserving // nil without --reserve

	speed      float64
	meanTokens float64 // of the trace, per per
	per        time.Duration
	amount     int64 // tokens per per that the provider admits
	mock       mockLimits
	own        ownLimits // limits of the built-in policy
	attainable float64   // share of the provider's capacity that the policy lets through; 0 when not known

	provider   string
	policyText string
	policies   *policyfile.File
	pools      map[string]string // of keys that name one, by key id
}

// plan works the replay out.
func (c *replayCmd) plan() (*plan, error) {
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
	if err := c.readTrace(p); err != nil {
		return nil, err
	}
	p.reserving = c.planReserve(p)
	if err := c.size(p); err != nil {
		return nil, err
	}
	policies := c.ownPolicies
	if c.Policies != "" {
		policies = c.userPolicies
	}
	if err := policies(p); err != nil {
		return nil, err
	}
	p.readAccounts()
	return p, p.checkTTL()
}

// check refuses what flags can't be together.
func (c *replayCmd) check() error {
	switch {
	case !(c.Speed > 0):
		return errors.New("--speed must be above 0")
	case c.Duration < 0:
		return errors.New("--duration must be above 0s")
	case c.Keys < 1:
		return errors.New("--keys must be at least 1")
	case c.Rows < 0:
		return errors.New("--rows must be at least 0")
	case c.Patience < 0 || c.Slack != nil && *c.Slack < 0:
		return errors.New("--patience and --slack must be at least 0s")
	case c.Policies != "" && (c.Burst.set || c.Slack != nil):
		return errors.New("--burst and --slack are of the built-in policy; --policies has its own")
	case c.Mock == mockBucket && c.Slack != nil:
		return errors.New("--slack goes with --mock=window")
	}
	if err := c.mockFlags.check(); err != nil {
		return err
	}
	if err := c.checkAccounts(); err != nil {
		return err
	}
	return c.checkReserve()
}

// readToken puts the token in place of the @PATH of a file that holds it.
func (c *replayCmd) readToken() error {
	if path, ok := strings.CutPrefix(c.Token, "@"); ok {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("--token (PERMITD_TOKEN): %w", err)
		}
		if c.Token = strings.TrimSpace(string(text)); c.Token == "" {
			return fmt.Errorf("--token (PERMITD_TOKEN): %s is empty", path)
		}
	}
	return nil
}

func (c *replayCmd) readTrace(p *plan) error {
	if c.Trace == "" {
		p.trace = syntheticTrace(c.Seed)
	} else {
		f, err := os.Open(c.Trace)
		if err != nil {
			return err
		}
		defer f.Close()
		if p.trace, err = readTrace(c.Trace, f); err != nil {
			return err
		}
	}
	if c.Rows > 0 && c.Rows < len(p.trace.rows) {
		p.trace.rows = p.trace.rows[:c.Rows]
	}
	if !p.trace.keys {
		p.trace.dealKeys(c.Keys, c.Seed)
	}
	for i := range p.trace.rows {
		if r := &p.trace.rows[i]; r.Model == "" {
			r.Model = c.Model
		}
	}
	if p.speed = c.Speed; c.Duration > 0 {
		if p.speed = float64(p.trace.span()) / float64(c.Duration); !(p.speed > 0) {
			return errors.New("all requests of the trace are at one moment, so --duration can't spread them: leave it out")
		}
	}
	return nil
}

// size works out the provider's limit.
func (c *replayCmd) size(p *plan) error {
	per, err := limiter.ParseDuration(c.Per)
	if err != nil {
		return fmt.Errorf("--per %w", err)
	}
	if p.per = compress(per, p.speed); p.per < limiter.MinPer {
		return fmt.Errorf("--per %s divided by the speed %g is less than %s: replay slower", c.Per, p.speed, limiter.MinPer)
	}
	var total, largest int64
	for i := range p.trace.rows {
		tokens := tokensOf(&p.trace.rows[i])
		total, largest = total+tokens, max(largest, tokens)
	}
	if span := p.trace.span(); span > 0 {
		p.meanTokens = float64(total) / (float64(span) / float64(per))
	} else if c.Capacity.multiple {
		return errors.New("all requests of the trace are at one moment, so they have no mean: give --capacity in tokens")
	}
	p.amount = c.Capacity.of(p.meanTokens)
	p.mock = c.mockFlags.limits(p.amount, p.per)
	if most := p.mock.most(); largest > most {
		return fmt.Errorf("the largest request has %d tokens and the provider never admits more than %d at once: raise --capacity, --mock-burst or --account-capacity", largest, most)
	}
	return nil
}

// ownPolicies makes the policy that suits the provider.
func (c *replayCmd) ownPolicies(p *plan) error {
	if p.provider = c.Provider; p.provider == "" {
		p.provider = "replay"
	}
	if len(p.costs) != 1 || p.costs[0].unit != "tokens" {
		return errors.New("--cost names other units than tokens, which is what the built-in policy counts: give --policies")
	}
	platform := ownLimit{name: providerLimitName, scope: "provider", amount: p.amount, per: p.per, strict: c.Mock == mockWindow}
	if p.attainable = 1; platform.strict {
		if platform.slack = 100 * time.Millisecond; c.Slack != nil {
			platform.slack = c.Slack.Truncate(time.Microsecond)
		}
		platform.burst = c.Burst.or(0.1).of(float64(p.amount))
		p.attainable = float64(p.amount-platform.burst) / float64(p.amount) * float64(p.per) / float64(p.per+platform.slack)
	} else {
		platform.burst = c.Burst.or(0.5).of(float64(p.amount))
	}
	limits := []ownLimit{platform}
	p.own = ownLimits{provider: platform.sustained(), accountOf: p.account}
	if p.mock.account > 0 {
		account := platform
		account.name, account.scope, account.amount, account.burst = accountLimitName, "pool", p.mock.account, scaled(platform.burst, p.mock.account, p.amount)
		limits = append(limits, account)
		rate := account.sustained()
		p.own.account = &rate
	}
	if err := c.checkLargest(p, limits); err != nil {
		return err
	}
	p.policyText = ownPolicy(p.provider, limits, c.dealAccounts(p.trace))
	var err error
	p.policies, err = policyfile.Parse("the built-in policy", []byte(p.policyText))
	return err
}

// checkLargest refuses limits of the built-in policy that never let the largest request through.
func (c *replayCmd) checkLargest(p *plan, limits []ownLimit) error {
	var largest int64
	for i := range p.trace.rows {
		largest = max(largest, p.costs[0].of(p.reserving.estimate(&p.trace.rows[i])))
	}
	for _, l := range limits {
		more := "raise --burst or --capacity"
		if l.name == accountLimitName {
			more = "raise --account-capacity, --burst or --capacity"
		}
		switch {
		case largest > l.burst && p.reserving != nil:
			return fmt.Errorf("the largest reservation is %d tokens and permitd never grants more than %d at once (limit %s): %s, or lower --reserve", largest, l.burst, l.name, more)
		case largest > l.burst:
			return fmt.Errorf("the largest request costs %d tokens and permitd never grants more than %d at once (limit %s): %s", largest, l.burst, l.name, more)
		}
	}
	if c.runs(strategySplit) {
		return checkSplit(c.Replicas, largest, &p.own.provider, p.own.account)
	}
	return nil
}

// userPolicies reads the user's policies and compresses them.
func (c *replayCmd) userPolicies(p *plan) error {
	file, err := policyfile.Load(c.Policies)
	if err != nil {
		return err
	}
	var names []string
	for _, docs := range file.Providers {
		names = append(names, docs.Provider)
	}
	switch p.provider = c.Provider; {
	case p.provider == "" && len(names) == 1:
		p.provider = names[0]
	case p.provider == "":
		return fmt.Errorf("%s holds several providers: choose one by --provider (%s)", c.Policies, strings.Join(names, ", "))
	case !slices.Contains(names, p.provider):
		return fmt.Errorf("%s has no provider %s; it has %s", c.Policies, p.provider, strings.Join(names, ", "))
	}
	if p.policyText, err = compressPolicies(file, p.speed); err != nil {
		return err
	}
	p.policies, err = policyfile.Parse(c.Policies+", compressed", []byte(p.policyText))
	return err
}

// slot is how finely the flow of a run is kept: the trace has a few hundred.
func (p *plan) slot() time.Duration {
	return max(time.Millisecond, time.Duration(float64(p.trace.span())/p.speed/480))
}
