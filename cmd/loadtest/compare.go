package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// comparison is one row of figures for each strategy.
func (r *report) comparison() (head []string, rows [][]string) {
	head = []string{"strategy", "served", "gave up", "failed", "asked", "denied or delayed", "no decision", "upstream 429s", "capacity used", "most at once", "asking p50, ms", "asking p99, ms", "start to admitted p50, ms", "start to admitted p99, ms", "took, s"}
	for _, run := range r.Runs {
		var kept int64
		for _, n := range run.Kept {
			kept += n
		}
		asking := []string{"–", "–"}
		if run.Decision.Count > 0 {
			asking = []string{fmt.Sprintf("%.2f", run.Decision.P50), fmt.Sprintf("%.2f", run.Decision.P99)}
		}
		rows = append(rows, []string{run.Strategy, fmt.Sprint(run.Served), fmt.Sprint(run.GaveUp), fmt.Sprint(run.Failed), fmt.Sprint(run.Asked), fmt.Sprint(kept),
			fmt.Sprint(run.NoDecision), fmt.Sprint(run.Upstream429), usedText(run.Used), short(float64(run.PeakTokens)), asking[0], asking[1],
			fmt.Sprintf("%.0f", run.Wait.P50), fmt.Sprintf("%.0f", run.Wait.P99), fmt.Sprintf("%.1f", run.ElapsedS)})
	}
	return head, rows
}

// compare writes the comparison, a column for each strategy.
func (r *report) compare(w io.Writer) {
	head, rows := r.comparison()
	fmt.Fprintln(w, "\n== compared")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i, name := range head {
		fmt.Fprintf(t, "%s\t", name)
		for _, row := range rows {
			fmt.Fprintf(t, "%s\t", row[i])
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}
