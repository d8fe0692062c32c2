package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is all that is said at the end.
type report struct {
	Settings settings     `json:"settings"`
	Runs     []*runReport `json:"runs"`
	Events   []happening  `json:"events,omitempty"` // of --events, in order of time
}

// broken reports whether the exit code has to be 1.
func (r *report) broken() bool { return slices.ContainsFunc(r.Runs, (*runReport).broken) }

// runReport is what is said of one strategy.
type runReport struct {
	Strategy string `json:"strategy"`
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
	PeakTokens     int64    `json:"peak_tokens"` // most that reached a provider at once, beyond its rate, refused calls included

	Providers []*providerReport `json:"providers"` // as in the settings; what stands above is of all together

	OverTime  *courseReport `json:"over_time,omitempty"`  // how asks were answered; absent when nobody was asked
	WentWrong []trouble     `json:"went_wrong,omitempty"` // with asks, and when

	began     time.Time
	course    *course
	anyBroken bool
}

func newRun(strategy string, r *results, p *plan) *runReport {
	rep := &runReport{
		Strategy: strategy, outcome: r.outcome, ElapsedS: r.elapsed.Seconds(), Interrupted: r.interrupted,
		OverTime: r.course.report(), WentWrong: r.course.troubles(), began: r.began, course: r.course,
	}
	rep.addProviders(r.providers, p)
	if rep.Used != nil && p.attainable > 0 && strategy != strategyNone {
		of := *rep.Used / p.attainable
		rep.Attainable, rep.UsedOf = &p.attainable, &of
	}
	figures := rep.figures()
	for _, a := range p.assertions {
		if a.strategy != strategy {
			continue
		}
		said, holds := a.check(figures)
		rep.Assertions = append(rep.Assertions, said)
		rep.anyBroken = rep.anyBroken || !holds
	}
	return rep
}

// broken reports whether the exit code has to be 1.
func (r *runReport) broken() bool {
	return r.Interrupted || r.Failed > 0 || r.Holds != nil && r.Holds.Unsettled > 0 || r.anyBroken
}

// figures are what assertions may be about.
func (r *runReport) figures() map[string]float64 {
	f := map[string]float64{
		"requests": float64(r.Requests), "served": float64(r.Served), "gave_up": float64(r.GaveUp), "failed": float64(r.Failed),
		"asked": float64(r.Asked), "allowed": float64(r.Allowed), "denied": float64(r.Denied), "upstream_429": float64(r.Upstream429), "upstream_429_platform": float64(r.ByPlatform), "upstream_429_account": float64(r.ByAccount), "no_decision": float64(r.NoDecision), "degraded": float64(r.Degraded),
		"tokens_admitted": float64(r.TokensAdmitted), "elapsed_s": r.ElapsedS, "waited_s": r.WaitedS, "stretches": float64(r.Stretches), "peak_tokens": float64(r.PeakTokens),
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
var figureNames = slices.Sorted(maps.Keys((&runReport{Used: new(float64), Attainable: new(float64), UsedOf: new(float64), outcome: outcome{Holds: new(holdCounts)}}).figures()))

// countRow is a line of the table.
type countRow struct {
	name  string
	count int64
	what  string
}

func (r *runReport) write(w io.Writer, titled bool) {
	fmt.Fprintln(w)
	if titled {
		fmt.Fprintf(w, "== %s\n", r.Strategy)
	}
	if r.Interrupted {
		fmt.Fprintln(w, "interrupted: what follows is of the part that was run")
	}
	for _, c := range append([]countRow{
		{"requests", r.Requests, "of the trace, started"},
		{"served", r.Served, "admitted by the provider"},
		{"gave up", r.GaveUp, "out of patience"},
		{"failed", r.Failed, "answered neither yes nor 429"},
		{"asked", r.Asked, "whether they may call"},
		{"allowed", r.Allowed, ""},
		{"denied", r.Denied, ""},
		{"degraded", r.Degraded, "of these, by a permitd that did not reach its store"},
		{"no decision", r.NoDecision, "asks that permitd did not answer, or with 503; asked again"},
		{"upstream 429s", r.Upstream429, "calls that the provider refused"},
		{"  by platform", r.ByPlatform, "by its limit for all"},
		{"  by account", r.ByAccount, "by its limit for the account"},
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

func (r *runReport) writeProblems(w io.Writer) {
	for _, t := range r.WentWrong {
		fmt.Fprintln(w, t)
	}
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
