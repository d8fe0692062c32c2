package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/permitd/permitd/limiter"
)

// reserveFlags are the flags of a replay whose clients reserve an estimate and settle to what their call took.
type reserveFlags struct {
	Reserve   *int64         `placeholder:"TOKENS" help:"Reserve an estimate with each ask, a hold for as much as if so many tokens were generated, and settle it to the usage that the provider's answer ends with."`
	NoSettle  bool           `help:"Never settle: what was reserved stays charged. For comparison."`
	CallBase  *time.Duration `placeholder:"200ms" help:"How long the mock provider takes for a call, and"`
	CallToken *time.Duration `placeholder:"5ms" help:"how much longer for each generated token; both are divided by the speed."`
	Stream    bool           `help:"Have answers streamed, with their usage in the last chunk."`
	Die       float64        `placeholder:"SHARE" help:"Share of clients, such as 0.02, that die during their call: their connection is cut and nothing is settled. Their holds expire and stay charged."`
	Lossy     float64        `placeholder:"SHARE" help:"Share of permitd's answers, such as 0.02, that a proxy in this process loses: permitd did as it was asked, the client's connection is closed. Clients ask again with the same Idempotency-Key, and settle again."`
}

// leastTTL of a hold keeps one from expiring only because the machine is busy.
const leastTTL = time.Second

// checkReserve refuses what flags can't be together.
func (c *loadFlags) checkReserve() error {
	switch {
	case c.Reserve == nil && (c.NoSettle || c.Stream || c.CallBase != nil || c.CallToken != nil || c.Die != 0 || c.Lossy != 0):
		return errors.New("--no-settle, --stream, --call-base, --call-token, --die and --lossy go with --reserve")
	case c.Reserve == nil:
		return nil
	case *c.Reserve < 0 || *c.Reserve > maxTokens:
		return fmt.Errorf("--reserve must be a number of tokens from 0 to %d", int64(maxTokens))
	case c.CallBase != nil && *c.CallBase < 0 || c.CallToken != nil && *c.CallToken < 0:
		return errors.New("--call-base and --call-token must be at least 0s")
	case c.NoSettle && c.Die != 0:
		return errors.New("--die is of clients that settle; it does not go with --no-settle")
	case !(c.Die >= 0 && c.Die <= 1):
		return errors.New("--die must be a share from 0 to 1")
	case !(c.Lossy >= 0 && c.Lossy < 1):
		return errors.New("--lossy must be a share from 0 to below 1")
	}
	return nil
}

// reserving is --reserve worked out.
type reserving struct {
	output   int64         // tokens that an estimate has for what will be generated
	pace     pace          // of the provider's calls
	longest  time.Duration // of all calls of the replay
	ttl      time.Duration // of the holds
	stream   bool
	noSettle bool
	die      float64
	lossy    float64
}

// planReserve works out --reserve; nil without it.
func (c *loadFlags) planReserve(p *plan) *reserving {
	if c.Reserve == nil {
		return nil
	}
	h := &reserving{output: *c.Reserve, pace: pace{defaultCallBase, defaultCallToken, p.speed}, stream: c.Stream, noSettle: c.NoSettle, die: c.Die, lossy: c.Lossy}
	if c.CallBase != nil {
		h.pace.base = *c.CallBase
	}
	if c.CallToken != nil {
		h.pace.token = *c.CallToken
	}
	for i := range p.trace.rows {
		h.longest = max(h.longest, h.pace.of(p.trace.rows[i].Generated))
	}
	h.ttl = max(leastTTL, (min(h.longest, math.MaxInt64/4)*2 + time.Millisecond - 1).Truncate(time.Millisecond))
	return h
}

// calls is how long calls take: without --reserve no time.
func (h *reserving) calls() pace {
	if h == nil {
		return pace{}
	}
	return h.pace
}

func (h *reserving) streams() bool { return h != nil && h.stream }

// estimate is the request as its client expects it before the call. Without --reserve it is the request.
func (h *reserving) estimate(r *row) *row {
	if h == nil {
		return r
	}
	e := *r
	e.Generated = h.output
	return &e
}

// checkTTL refuses holds that last longer than the policy lets them.
func (p *plan) checkTTL() error {
	if p.reserving == nil {
		return nil
	}
	for _, docs := range p.policies.Providers {
		if most := docs.Policy.HoldTTL; p.asks(docs.Provider) && p.reserving.ttl > most {
			return fmt.Errorf("the longest call takes %s, so holds would have to last %s, and the policy's hold_ttl is %s: raise it or --speed, or lower --call-token",
				p.reserving.longest, p.reserving.ttl, limiter.FormatDuration(most))
		}
	}
	return nil
}

// drained is how many tokens drain from permitd's limit in twice the time of the longest call: a burst of so many lets
// every reservation be refunded in full.
func (p *plan) drained() int64 {
	return int64(math.Min(1e12, math.Ceil(2*float64(p.reserving.longest)/float64(p.per)*float64(p.amount()))))
}

// reserveSettings are what a report says of how clients reserved. Durations are those of the replay.
type reserveSettings struct {
	Output      int64   `json:"output_tokens"`
	CallBase    string  `json:"call_base"`
	CallToken   string  `json:"call_token"`
	LongestCall string  `json:"longest_call"`
	Stream      bool    `json:"stream"`
	BurstToHave int64   `json:"burst_to_have"`
	TTL         string  `json:"ttl"`
	Settle      bool    `json:"settle"`
	Die         float64 `json:"die"`
	Lossy       float64 `json:"lossy"`
}

func (p *plan) reserveSettings() *reserveSettings {
	h := p.reserving
	if h == nil {
		return nil
	}
	return &reserveSettings{
		Output: h.output, CallBase: h.pace.of(0).String(), CallToken: h.pace.divided(float64(h.pace.token)).String(), LongestCall: h.longest.String(),
		Stream: h.stream, BurstToHave: p.drained(), TTL: h.ttl.String(), Settle: !h.noSettle, Die: h.die, Lossy: h.lossy,
	}
}

func (s *reserveSettings) write(w io.Writer) {
	if s == nil {
		return
	}
	then := "settled when the call ends"
	if !s.Settle {
		then = "never settled"
	}
	fmt.Fprintf(w, "reserve\tas if %d tokens were generated, in holds of %s, %s\n", s.Output, s.TTL, then)
	calls := "calls"
	if s.Stream {
		calls = "streams"
	}
	fmt.Fprintf(w, "%s\ttake %s and %s per generated token, at most %s; in twice that %d tokens drain, a burst to have\n", calls, s.CallBase, s.CallToken, s.LongestCall, s.BurstToHave)
	if s.Die > 0 || s.Lossy > 0 {
		fmt.Fprintf(w, "faults\t%g %% of clients die before they settle, %g %% of permitd's answers are lost\n", 100*s.Die, 100*s.Lossy)
	}
}
