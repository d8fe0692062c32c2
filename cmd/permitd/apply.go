package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// run brings a permitd in line with a file. First all is compared; only then is anything written, change by change, so
// that a second run finishes what the first could not.
func (c *applyCommand) run(ctx context.Context, given settings, stdout, stderr io.Writer) int {
	r, err := c.open(given, "operator")
	if err == nil && c.Note != "" && !limiter.Printable(c.Note, limiter.MaxNoteLen) {
		err = given.bad("note", c.Note, fmt.Sprintf("must be at most %d printable characters", limiter.MaxNoteLen))
	}
	if err != nil {
		return complain(stderr, err)
	}
	defer r.close()
	f := loadChecked(c.File, stderr)
	if f == nil {
		return exitFailure
	}
	p, err := r.newPlan(ctx, f)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			failed(stderr, errors.New(strings.TrimSuffix(line, "\n")))
		}
		fmt.Fprintln(stderr, "permitd: nothing was changed")
		return exitFailure
	}
	for _, what := range p.kept {
		fmt.Fprintln(stdout, what)
	}
	if len(p.changes) == 0 {
		fmt.Fprintf(stdout, "nothing to change: permitd is as %s says\n", c.File)
		return exitOK
	}
	if c.DryRun {
		for _, ch := range p.changes {
			fmt.Fprintln(stdout, ch.planned())
		}
		fmt.Fprintf(stdout, "%s would be made\n", count(len(p.changes), "change"))
		return exitOK
	}
	return p.carryOut(ctx, r, c.Note, stdout, stderr)
}

// carryOut makes the changes, until one fails.
func (p *plan) carryOut(ctx context.Context, r *remote, note string, stdout, stderr io.Writer) int {
	for i, ch := range p.changes {
		line, err := ch.make(ctx, r, note)
		if err != nil {
			failed(stderr, fmt.Errorf("%s: %w", ch, err))
			fmt.Fprintf(stderr, "permitd: %d of %s made; not made: %s; run the same command again to finish\n",
				i, count(len(p.changes), "change"), few(p.changes[i:]))
			return exitFailure
		}
		fmt.Fprintln(stdout, line)
	}
	fmt.Fprintf(stdout, "%s made\n", count(len(p.changes), "change"))
	return exitOK
}

// few are the names of the first of many changes.
func few(changes []*change) string {
	const most = 10
	var names []string
	for _, ch := range changes[:min(len(changes), most)] {
		names = append(names, ch.String())
	}
	if more := len(changes) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
