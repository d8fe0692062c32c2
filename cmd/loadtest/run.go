package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// The kinds of arrivals.
const (
	arrivalsPoisson = "poisson"
	arrivalsEven    = "even"
)

// runCmd is the subcommand run.
type runCmd struct {
	Stages    stages       `default:"30s:50" placeholder:"DURATION:RATE,..." help:"Requests per second over time: DURATION:RATE, or DURATION:FROM-TO for a ramp, one after the other and separated by commas, such as 10s:50,20s:50-400,3s:1500,10s:50 (steady, a ramp, a spike, recovery). Rates may be fractions, and 0 is a pause. Default: 30s:50."`
	Arrivals  string       `enum:"poisson,even" default:"poisson" help:"poisson: each request comes by itself, as of many callers, so that some come close together; even: all gaps of a rate are equal."`
	Context   distribution `default:"lognormal(1500,0.8,8000)" placeholder:"TOKENS" help:"Tokens of prompts: a number, uniform(MIN,MAX), or lognormal(MEDIAN,SIGMA,MAX). Default: lognormal(1500,0.8,8000)."`
	Generated distribution `default:"lognormal(60,1,1000)" placeholder:"TOKENS" help:"Tokens that are generated, the same way. Default: lognormal(60,1,1000)."`
	Model     []weighted   `placeholder:"NAME[=WEIGHT]" help:"Models to name, each as often as its weight says (1). Repeatable, or separated by commas. Default: none is named."`
	Provider  []weighted   `placeholder:"NAME[=WEIGHT]" help:"Providers to ask, the same way. Each has a mock provider of its own, and a document in the built-in policy. Default: the only one of --policies, or one named run."`

	loadFlags `embed:"" set:"per=10s"`
}

// Help is printed below the flags.
func (c *runCmd) Help() string {
	return `Requests are drawn before the run begins, always the same for a seed, and started at their times however long the others take
(an open loop). Each is a client of its own.
` + howClients
}

// Run puts the load through.
func (c *runCmd) Run(ctx context.Context, s streams) error { return c.carryOut(ctx, s, c.draw) }

// draw makes the requests. What is drawn has streams of its own, so that to change one leaves the others as they are.
func (c *runCmd) draw(policies *policyfile.File) (t *trace, speed float64, err error) {
	if err := c.checkDrawn(); err != nil {
		return nil, 0, err
	}
	stream := func(name uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, name)) }
	var gaps *rand.Rand
	if c.Arrivals == arrivalsPoisson {
		gaps = stream(0x67617073)
	}
	tokens, models, providers := stream(0x746f6b656e73), stream(0x6d6f64656c73), stream(0x70726f766964)
	t = &trace{name: c.name(), lasts: c.Stages.lasts(), providers: c.Provider}
	for _, at := range c.Stages.arrivals(gaps) {
		t.rows = append(t.rows, row{
			At: at, Context: c.Context.draw(tokens), Generated: c.Generated.draw(tokens),
			Model: pick(c.Model, models), Provider: pick(c.Provider, providers),
		})
	}
	if len(t.rows) == 0 {
		return nil, 0, fmt.Errorf("--stages %s asks for %.3g requests, and the seed %d draws none of them: raise the rate", c.Stages, c.Stages.requests(), c.Seed)
	}
	return t, 1, t.nameProvider("", "run", c.Policies, policies)
}

func (c *runCmd) checkDrawn() error {
	for _, w := range c.Model {
		if !limiter.Printable(w.name, limiter.MaxModelLen) {
			return fmt.Errorf("--model must name models by 1 to %d printable characters, not %q", limiter.MaxModelLen, w.name)
		}
	}
	if err := checkNames("--model", c.Model); err != nil {
		return err
	}
	return checkNames("--provider", c.Provider)
}

// name says what the requests were drawn by.
func (c *runCmd) name() string {
	list := []string{c.Stages.String(), c.Arrivals, "context " + c.Context.String(), "generated " + c.Generated.String()}
	for _, of := range []struct {
		what  string
		names []weighted
	}{{"models", c.Model}, {"providers", c.Provider}} {
		if len(of.names) > 0 {
			list = append(list, of.what+" "+strings.Trim(fmt.Sprint(of.names), "[]"))
		}
	}
	return strings.Join(list, ", ")
}
