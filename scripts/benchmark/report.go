package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"text/tabwriter"
)

// report is all that is said at the end.
type report struct {
	Go         string   `json:"go"`
	Redis      string   `json:"redis"`
	CPUs       int      `json:"cpus"`
	Rounds     int      `json:"rounds"`
	RoundS     float64  `json:"round_s"`
	Contenders []result `json:"contenders"`
	Goals      []mark   `json:"goals"`
}

// result is what a contender came to.
type result struct {
	Name    string   `json:"name"`
	Callers int      `json:"callers"`
	PerCall int      `json:"decisions_per_call"`
	Median  sample   `json:"median"`
	Rounds  []sample `json:"rounds"`
}

func newReport(c *command, all []*contender, redisVersion string) *report {
	r := &report{Go: runtime.Version(), Redis: redisVersion, CPUs: runtime.GOMAXPROCS(0), Rounds: c.Rounds, RoundS: c.Time.Seconds()}
	for _, c := range all {
		r.Contenders = append(r.Contenders, result{c.name, len(c.calls), c.per, middles(c.rounds), c.rounds})
	}
	for i := range goals {
		if m, ok := goals[i].judge(all); ok {
			r.Goals = append(r.Goals, m)
		}
	}
	return r
}

func (r *report) write(w io.Writer) {
	fmt.Fprintf(w, "%s, Redis %s, %d CPUs; %g s per contender and round, medians of rounds: %d\n\n", r.Go, r.Redis, r.CPUs, r.RoundS, r.Rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0
	for _, c := range r.Contenders {
		width = max(width, len(c.Name))
	}
	fmt.Fprintf(t, "%-*s\tper second\tRedis µs\tp50 µs\tp99 µs\tallocs\t\n", width, "contender")
	for _, c := range r.Contenders {
		m := c.Median
		fmt.Fprintf(t, "%-*s\t%.0f\t%s\t%s\t%s\t%.1f\t\n", width, c.Name, m.PerSecond, figure(m.RedisMicros), figure(m.P50Micros), figure(m.P99Micros), m.Allocs)
	}
	t.Flush()
	if len(r.Goals) > 0 {
		fmt.Fprintln(w)
		r.writeGoals(w)
	}
}

// figure is a number that may be missing.
func figure(f float64) string {
	if f == 0 {
		return "-"
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

func (r *report) writeGoals(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "goals\tmeasured\tgoal\t")
	for _, m := range r.Goals {
		sign, bound := "≤", m.AtMost
		if m.AtLeast != nil {
			sign, bound = "≥", m.AtLeast
		}
		said := "short"
		if m.Met {
			said = "ok"
		}
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\n", m.What, short(m.Measured), sign, short(*bound), said)
	}
	t.Flush()
}

// short is a number of any size in few digits.
func short(f float64) string {
	if f >= 100 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
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
