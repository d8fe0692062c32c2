package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// settings are what a report says of how a replay was run. Durations are those of the replay.
type settings struct {
	Trace        string           `json:"trace"`
	Requests     int              `json:"trace_requests"`
	SpanS        float64          `json:"trace_span_s"`
	Speed        float64          `json:"speed"`
	MeanTokens   float64          `json:"mean_tokens_per_per"`
	Per          string           `json:"per"`
	Mock         string           `json:"mock"`
	Amount       int64            `json:"amount"`
	MockBurst    int64            `json:"mock_burst,omitempty"`
	Permitd      string           `json:"permitd"`
	Policy       string           `json:"policy,omitempty"`
	Cost         []string         `json:"cost"`
	Patience     string           `json:"patience"`
	Keys         string           `json:"keys"`
	Seed         uint64           `json:"seed"`
	Reserve      *reserveSettings `json:"reserve,omitempty"`
	mockSentence string
}

func (c *replayCmd) settings(p *plan) settings {
	s := settings{
		Trace: c.Trace, Requests: len(p.trace.rows), SpanS: p.trace.span().Seconds(), Speed: c.Speed,
		MeanTokens: math.Round(p.meanTokens), Per: p.per.String(), Mock: c.Mock, Amount: p.amount,
		Cost: c.Cost, Patience: c.Patience.String(), Seed: c.Seed, Reserve: p.reserveSettings(),
		Permitd: "one in this process, embedded store", Policy: p.policyText,
		mockSentence: fmt.Sprint(p.limit(c.Mock)),
	}
	if c.Mock == mockBucket {
		s.MockBurst = p.mockBurst
	}
	switch {
	case c.WithoutPermitd:
		s.Permitd, s.Policy, s.Cost = "none: clients call the provider at will", "", nil
	case len(c.Permitd) > 0:
		s.Permitd = strings.Join(c.Permitd, ", ")
	}
	if s.Keys = fmt.Sprintf("%d by Zipf", c.Keys); p.trace.keys {
		s.Keys = "of the trace"
	}
	return s
}

func (s settings) write(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "trace\t%s: %d requests in %.1f s\n", s.Trace, s.Requests, s.SpanS)
	fmt.Fprintf(t, "speed\t%gx: the trace lasts %.1f s, its mean is %.0f tokens per %s\n", s.Speed, s.SpanS/s.Speed, s.MeanTokens, s.Per)
	fmt.Fprintf(t, "provider\t%s\n", s.mockSentence)
	fmt.Fprintf(t, "permitd\t%s\n", s.Permitd)
	for line := range strings.Lines(s.Policy) {
		fmt.Fprintf(t, "\t%s\n", strings.TrimRight(line, "\n"))
	}
	s.Reserve.write(t)
	fmt.Fprintf(t, "keys\t%s, seed %d\n", s.Keys, s.Seed)
	fmt.Fprintf(t, "patience\t%s\n", s.Patience)
	t.Flush()
}

// report is all that is said at the end.
type report struct {
	Settings settings `json:"settings"`
	outcome
	TokensAdmitted int64    `json:"tokens_admitted"`
	ElapsedS       float64  `json:"elapsed_s"`
	Stretches      int      `json:"stretches"`
	WaitedS        float64  `json:"waited_s"`
	Used           *float64 `json:"used,omitempty"`       // absent when nobody waited
	Attainable     *float64 `json:"attainable,omitempty"` // absent when it is not known
	UsedOf         *float64 `json:"used_of_attainable,omitempty"`
	Assertions     []string `json:"assertions,omitempty"`
	Interrupted    bool     `json:"interrupted,omitempty"`

	anyBroken bool
}

func newReport(s settings, r *results, p *plan) *report {
	rep := &report{
		Settings: s, outcome: r.outcome, TokensAdmitted: r.usage.Admitted, ElapsedS: r.elapsed.Seconds(),
		Stretches: r.usage.Stretches, WaitedS: r.usage.Waited.Seconds(), Interrupted: r.interrupted,
	}
	if share, ok := r.usage.share(p.amount, p.per); ok {
		rep.Used = &share
		if p.attainable > 0 && s.Policy != "" {
			of := share / p.attainable
			rep.Attainable, rep.UsedOf = &p.attainable, &of
		}
	}
	figures := rep.figures()
	for _, a := range p.assertions {
		said, holds := a.check(figures)
		rep.Assertions = append(rep.Assertions, said)
		rep.anyBroken = rep.anyBroken || !holds
	}
	return rep
}

// broken reports whether the exit code has to be 1.
func (r *report) broken() bool {
	return r.Interrupted || r.Failed > 0 || r.Holds != nil && r.Holds.Unsettled > 0 || r.anyBroken
}

// figures are what assertions may be about.
func (r *report) figures() map[string]float64 {
	f := map[string]float64{
		"requests": float64(r.Requests), "served": float64(r.Served), "gave_up": float64(r.GaveUp), "failed": float64(r.Failed),
		"asked": float64(r.Asked), "allowed": float64(r.Allowed), "denied": float64(r.Denied), "upstream_429": float64(r.Upstream429), "no_decision": float64(r.NoDecision),
		"tokens_admitted": float64(r.TokensAdmitted), "elapsed_s": r.ElapsedS, "waited_s": r.WaitedS, "stretches": float64(r.Stretches),
	}
	for name, l := range map[string]latency{"wait": r.Wait, "decision": r.Decision, "reach": r.Reach} {
		for percentile, v := range map[string]float64{"mean": l.Mean, "p50": l.P50, "p90": l.P90, "p99": l.P99, "p99.9": l.P999, "max": l.Max} {
			f[name+"_"+percentile+"_ms"] = v
		}
	}
	r.Holds.figures(f)
	for name, v := range map[string]*float64{"used": r.Used, "attainable": r.Attainable, "used_of_attainable": r.UsedOf} {
		if v != nil {
			f[name] = *v
		}
	}
	return f
}

// figureNames are all that figures may hold.
var figureNames = slices.Sorted(maps.Keys((&report{Used: new(float64), Attainable: new(float64), UsedOf: new(float64), outcome: outcome{Holds: new(holdCounts)}}).figures()))

// countRow is a line of the table.
type countRow struct {
	name  string
	count int64
	what  string
}

func (r *report) write(w io.Writer) {
	fmt.Fprintln(w)
	if r.Interrupted {
		fmt.Fprintln(w, "interrupted: what follows is of the part that was run")
	}
	for _, c := range append([]countRow{
		{"requests", r.Requests, "of the trace, started"},
		{"served", r.Served, "admitted by the provider"},
		{"gave up", r.GaveUp, "out of patience"},
		{"failed", r.Failed, "answered neither yes nor 429"},
		{"asked", r.Asked, "asks for a permit"},
		{"allowed", r.Allowed, ""},
		{"denied", r.Denied, ""},
		{"no decision", r.NoDecision, "asks that permitd did not answer, or with 503; asked again"},
		{"upstream 429s", r.Upstream429, "calls that the provider refused"},
	}, r.Holds.rows()...) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-14s %9d  %s", c.name, c.count, c.what), " "))
	}
	fmt.Fprintln(w)
	r.writeUse(w)
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "latency, ms\tcount\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, l := range []struct {
		name string
		latency
	}{{"start to admitted", r.Wait}, {"permit due to answered", r.Decision}, {"permit sent to call answered", r.Reach}} {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", l.name, l.Count, l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	t.Flush()
	r.writeProblems(w)
}

// writeUse says how much of the provider's capacity was used.
func (r *report) writeUse(w io.Writer) {
	fmt.Fprintf(w, "the provider admitted %d tokens in %.1f s\n", r.TokensAdmitted, r.ElapsedS)
	if r.Used == nil {
		fmt.Fprintln(w, "nobody waited")
		return
	}
	fmt.Fprintf(w, "clients waited for %.1f s, in %d stretches; %.2f %% of the capacity was used then\n", r.WaitedS, r.Stretches, 100**r.Used)
	if r.Attainable != nil {
		fmt.Fprintf(w, "the policy lets %.2f %% through, of which %.2f %% were used\n", 100**r.Attainable, 100**r.UsedOf)
	}
}

func (r *report) writeProblems(w io.Writer) {
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "error: %s: %d times\n", kind, r.Errors[kind])
	}
	for _, e := range r.Examples {
		fmt.Fprintf(w, "for example: %s\n", e)
	}
	if len(r.IgnoredUnits) > 0 {
		fmt.Fprintf(w, "warning: no limit counts %s: see --cost\n", strings.Join(r.IgnoredUnits, ", "))
	}
	for _, a := range r.Assertions {
		fmt.Fprintln(w, a)
	}
}

func (r *report) writeJSON(path string, stdout io.Writer) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if path == "-" {
		_, err = stdout.Write(text)
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
