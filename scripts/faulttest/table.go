package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// table shows what trials came to.
type table struct {
	out  io.Writer
	all  bool // checks that are met, too
	rows []row
}

type row struct {
	name, what string
	*verdict
	err error // it could not be tried
}

func (r *row) ok() bool { return r.err == nil && r.verdict.ok() }

func (t *table) write() (failed int) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tp99.9\tslowest\tlate\tp99.9°\tslowest°\tlate°\tback after\toutages\tgranted\tdenied\tgranted*\tdenied*\t503\tother\trpm, all\t\t")
	for _, r := range t.rows {
		said := "ok"
		if !r.ok() {
			said, failed = "FAILED", failed+1
		}
		if r.err != nil {
			fmt.Fprintf(w, "%s\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t%s\t\n", r.name, said)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\t%d\t", r.name, short(r.p999), short(r.slowest), r.late,
			short(r.p999Own), short(r.slowestOwn), r.lateOwn, short(r.recovered), r.outages)
		for _, n := range r.kinds {
			fmt.Fprintf(w, "%d\t", n)
		}
		fmt.Fprintf(w, "%s\t%s\t\n", r.rpm, said)
	}
	w.Flush()
	fmt.Fprintln(t.out, `
* without Redis. Times are of asks from the beginning of the fault until all was normal again, in ms; ° is without the time for
which this machine did not let a goroutine go on that wanted to; late is more than `+short(goals.answered)+`. "rpm, all" is the most of it
that was granted at once beyond its rate, and the bound of that.`)
	for _, r := range t.rows {
		t.detail(&r)
	}
	return failed
}

// detail says what was not met, or, if asked for, all.
func (t *table) detail(r *row) {
	if r.ok() && !t.all {
		return
	}
	fmt.Fprintf(t.out, "\n%s: %s\n", r.name, r.what)
	if r.err != nil {
		fmt.Fprintf(t.out, "  could not be tried: %v\n", r.err)
		return
	}
	for _, c := range r.checks {
		switch {
		case !c.ok:
			fmt.Fprintf(t.out, "  FAILED  %s: %s; has to be %s\n", c.what, c.found, c.wanted)
		case t.all:
			fmt.Fprintf(t.out, "  ok      %s: %s (%s)\n", c.what, c.found, c.wanted)
		}
	}
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}
