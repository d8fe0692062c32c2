package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// settings are what a report says of how a load was run. Durations are those of the run.
type settings struct {
	Strategies    []string           `json:"strategies"`
	Replicas      int                `json:"replicas"`
	Trace         string             `json:"trace"`
	Requests      int                `json:"trace_requests"`
	SpanS         float64            `json:"trace_span_s"`
	Speed         float64            `json:"speed"`
	MeanTokens    float64            `json:"mean_tokens_per_per"`
	Per           string             `json:"per"`
	Mock          string             `json:"mock"`
	Amount        int64              `json:"amount"`                   // of all providers
	MockBurst     int64              `json:"mock_burst,omitempty"`     // of all providers
	AccountAmount int64              `json:"account_amount,omitempty"` // of all providers
	Providers     []providerSettings `json:"providers"`
	Permitd       string             `json:"permitd,omitempty"`
	Policy        string             `json:"policy,omitempty"`
	Cost          []string           `json:"cost"`
	Patience      string             `json:"patience"`
	Keys          string             `json:"keys"`
	Seed          uint64             `json:"seed"`
	Reserve       *reserveSettings   `json:"reserve,omitempty"`
	Versions      []string           `json:"versions"`
	Command       string             `json:"command"` // repeats it
	per           time.Duration
	slot          time.Duration
	ownKeys       bool // the trace had keys, which may be secret
}

// providerSettings are of one provider.
type providerSettings struct {
	Name          string `json:"name"`
	Tokens        int64  `json:"trace_tokens"`
	Amount        int64  `json:"amount"`
	MockBurst     int64  `json:"mock_burst,omitempty"`
	AccountAmount int64  `json:"account_amount,omitempty"`
	sentence      string // how it limits
	bound         int64  // tokens that it admits at once
}

func (c *loadFlags) settings(ctx context.Context, p *plan) settings {
	s := settings{
		Strategies: c.Strategy, Replicas: c.Replicas, Trace: p.trace.name, Requests: len(p.trace.rows), SpanS: p.trace.span().Seconds(), Speed: p.speed,
		MeanTokens: math.Round(p.meanTokens), Per: p.per.String(), Mock: c.Mock, Amount: p.amount(),
		Cost: c.Cost, Patience: c.Patience.String(), Seed: c.Seed, Reserve: p.reserveSettings(),
		Permitd: "one in this process, embedded store", Policy: c.shownPolicy(p),
		Versions: c.versions(ctx), Command: commandLine(os.Args[1:]),
		per: p.per, slot: p.slot(), ownKeys: p.trace.keys,
	}
	for _, pp := range p.providers {
		one := providerSettings{Name: pp.name, Tokens: pp.tokens, Amount: pp.mock.amount, AccountAmount: pp.mock.account, sentence: pp.mock.String(), bound: pp.mock.burst}
		if c.Mock == mockBucket {
			one.MockBurst = pp.mock.burst
		}
		s.Providers = append(s.Providers, one)
		s.MockBurst += one.MockBurst
		s.AccountAmount += one.AccountAmount
	}
	switch {
	case !c.runs(strategyPermitd):
		s.Permitd = ""
	case len(c.Permitd) > 0:
		s.Permitd = strings.Join(c.Permitd, ", ")
	}
	if slices.Equal(c.Strategy, []string{strategyNone}) {
		s.Policy, s.Cost = "", nil
	}
	if s.Keys = fmt.Sprintf("%d by Zipf", c.Keys); p.trace.keys {
		s.Keys = "of the trace"
	}
	if c.Accounts > 0 {
		s.Keys += fmt.Sprintf(", in %d accounts", c.Accounts)
	}
	return s
}

func (s settings) write(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range s.rows() {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	for i, line := range strings.Split(strings.TrimSpace(s.Policy), "\n") {
		fmt.Fprintf(t, "%s\t%s\n", []string{"policy", ""}[min(i, 1)], line)
	}
	s.Reserve.write(t)
	t.Flush()
}

// rows are the settings without the policy, as a table.
func (s settings) rows() [][2]string {
	rows := [][2]string{
		{"trace", fmt.Sprintf("%s: %d requests in %.1f s", s.Trace, s.Requests, s.SpanS)},
		{"speed", fmt.Sprintf("%.4gx: the trace lasts %.1f s, its mean is %.0f tokens per %s", s.Speed, s.SpanS/s.Speed, s.MeanTokens, s.Per)},
	}
	for _, one := range s.Providers {
		name := "provider"
		if len(s.Providers) > 1 {
			name += " " + one.Name
		}
		rows = append(rows, [2]string{name, one.sentence})
	}
	rows = append(rows, [2]string{"strategies", strings.Join(s.Strategies, ", ")}, [2]string{"replicas", fmt.Sprint(s.Replicas)})
	if s.Permitd != "" {
		rows = append(rows, [2]string{"permitd", s.Permitd})
	}
	return append(rows, [2]string{"keys", fmt.Sprintf("%s, seed %d", s.Keys, s.Seed)}, [2]string{"patience", s.Patience})
}
