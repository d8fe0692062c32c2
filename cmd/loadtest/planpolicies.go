package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter/policyfile"
)

// ownPolicies makes the policies that suit the providers.
func (c *loadFlags) ownPolicies(p *plan) error {
	if len(p.costs) != 1 || p.costs[0].unit != "tokens" {
		return errors.New("--cost names other units than tokens, which is what the built-in policy counts: give --policies")
	}
	platform := ownLimit{name: providerLimitName, scope: "provider", amount: p.amount(), per: p.per, strict: c.Mock == mockWindow}
	if p.attainable = 1; platform.strict {
		if platform.slack = 100 * time.Millisecond; c.Slack != nil {
			platform.slack = c.Slack.Truncate(time.Microsecond)
		}
		platform.burst = c.Burst.or(0.1).of(float64(platform.amount))
		p.attainable = float64(platform.amount-platform.burst) / float64(platform.amount) * float64(p.per) / float64(p.per+platform.slack)
	} else {
		platform.burst = c.Burst.or(0.5).of(float64(platform.amount))
	}
	largest := p.largestCosts()
	var text strings.Builder
	text.WriteString("providers:\n")
	for i, burst := range p.deal(platform.burst) {
		pp := p.providers[i]
		platform.amount, platform.burst = pp.mock.amount, burst
		limits := pp.ownLimits(platform)
		if err := c.checkLargest(p, pp, largest[i], limits); err != nil {
			return err
		}
		text.WriteString(ownPolicy(pp.name, limits, c.dealAccounts(p.trace, pp.name)))
	}
	p.policyText = text.String()
	var err error
	p.policies, err = policyfile.Parse("the built-in policy", []byte(p.policyText))
	return err
}

// ownLimits are the limits of a provider in the built-in policy: that of the platform, and one of the same form for accounts
// if the provider has.
func (pp *providerPlan) ownLimits(platform ownLimit) []ownLimit {
	limits := []ownLimit{platform}
	pp.own = ownLimits{provider: platform.sustained(), accountOf: pp.account}
	if pp.mock.account > 0 {
		account := platform
		account.name, account.scope, account.amount, account.burst = accountLimitName, "pool", pp.mock.account, scaled(platform.burst, pp.mock.account, platform.amount)
		limits = append(limits, account)
		rate := account.sustained()
		pp.own.account = &rate
	}
	return limits
}

// largestCosts are those of one request of each provider, as the built-in policy counts.
func (p *plan) largestCosts() []int64 {
	byName := map[string]int64{}
	for i := range p.trace.rows {
		r := &p.trace.rows[i]
		byName[r.Provider] = max(byName[r.Provider], p.costs[0].of(p.reserving.estimate(r)))
	}
	costs := make([]int64, len(p.providers))
	for i, pp := range p.providers {
		costs[i] = byName[pp.name]
	}
	return costs
}

// checkLargest refuses limits of the built-in policy that never let the largest request through.
func (c *loadFlags) checkLargest(p *plan, pp *providerPlan, largest int64, limits []ownLimit) error {
	for _, l := range limits {
		more := "raise --burst or --capacity"
		if l.name == accountLimitName {
			more = "raise --account-capacity, --burst or --capacity"
		}
		switch {
		case largest > l.burst && p.reserving != nil:
			return fmt.Errorf("the largest reservation%s is %d tokens and permitd never grants more than %d at once (limit %s): %s, or lower --reserve", p.of(pp), largest, l.burst, l.name, more)
		case largest > l.burst:
			return fmt.Errorf("the largest request%s costs %d tokens and permitd never grants more than %d at once (limit %s): %s", p.of(pp), largest, l.burst, l.name, more)
		}
	}
	if c.runs(strategySplit) {
		return checkSplit(p.of(pp), c.Replicas, largest, &pp.own.provider, pp.own.account)
	}
	return nil
}

// userPolicies compresses the user's policies.
func (c *loadFlags) userPolicies(p *plan, file *policyfile.File) (err error) {
	if p.policyText, err = compressPolicies(file, p.speed); err != nil {
		return err
	}
	p.policies, err = policyfile.Parse(c.Policies+", compressed", []byte(p.policyText))
	return err
}
