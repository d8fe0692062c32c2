package main

import (
	"context"
	"fmt"
	"regexp"
)

// faults is scripts/faults.
type faults struct {
	flags
	Short bool   `help:"Four trials in less than a minute, with slack for a busy machine in all that is timed, and none in what is exact."`
	Run   string `placeholder:"REGEXP" help:"Only trials whose name matches."`

	names *regexp.Regexp
}

// Help is printed below the flags.
func (*faults) Help() string {
	text := "Trials:\n"
	for _, t := range trials {
		text += fmt.Sprintf("\n  %-10s %s", t.name, t.what)
	}
	return text + "\n\n" + formulas + "\n\n" + `Needs Go and redis-server, and a C compiler for the trial "clock".

Exit codes: 0; 1 when a trial failed or could not be made; 2 for a fault of the command line.`
}

// Validate checks the command line.
func (f *faults) Validate() (err error) {
	f.names, err = regexp.Compile(f.Run)
	return err
}

func (f *faults) try(ctx context.Context, g *ground, t *table) (failed int, err error) {
	pace, std := fullPace, goals
	if f.Short {
		pace, std = shortPace, busy
	}
	for i := range trials {
		one := &trials[i]
		if ctx.Err() != nil || !f.names.MatchString(one.name) || f.Short && !one.short {
			continue
		}
		fmt.Fprintf(g.progress, "%s: %s\n", one.name, one.what)
		v, err := one.run(ctx, g, pace, std)
		t.rows = append(t.rows, row{one.name, one.what, v, err})
	}
	if len(t.rows) == 0 {
		return 0, fmt.Errorf("no trial matches %q; --help has their names", f.Run)
	}
	return t.write(), nil
}
