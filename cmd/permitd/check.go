package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/permitd/permitd/limiter/policyfile"
)

// run checks a policy file. Its lines read as compilers write theirs, so that editors find their way.
func (c *checkCommand) run(stdout, stderr io.Writer) int {
	f, err := policyfile.Load(c.File)
	var faults *policyfile.Error
	if errors.As(err, &faults) {
		for _, p := range faults.Problems {
			fmt.Fprintln(stderr, p)
		}
		return exitFailure
	}
	if err != nil {
		return failed(stderr, fmt.Errorf("%s: can't be read: %w", c.File, reason(err)))
	}
	for _, w := range f.Warnings {
		fmt.Fprintf(stderr, "%s:%d: warning: %s\n", w.File, w.Line, w.Message)
	}
	limits := 0
	for _, p := range f.Providers {
		limits += len(p.Policy.Limits)
	}
	fmt.Fprintf(stdout, "%s: ok, %s, %s\n", c.File, count(len(f.Providers), "provider"), count(limits, "limit"))
	return exitOK
}

// count is "1 limit" or "2 limits".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
