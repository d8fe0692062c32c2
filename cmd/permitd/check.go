package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/permitd/permitd/limiter/policyfile"
)

// run checks a policy file. Its lines read as compilers write theirs, so that editors find their way.
func (c *checkCommand) run(stdout, stderr io.Writer) int {
	f := loadChecked(c.File, stderr)
	if f == nil {
		return exitFailure
	}
	limits := 0
	for _, p := range f.Providers {
		limits += len(p.Policy.Limits)
	}
	fmt.Fprintf(stdout, "%s: ok, %s, %s\n", c.File, count(len(f.Providers), "provider"), count(limits, "limit"))
	return exitOK
}

// loadChecked reads a policy file. What is wrong with it is said; it is nil then.
func loadChecked(path string, stderr io.Writer) *policyfile.File {
	f, err := policyfile.Load(path)
	var faults *policyfile.Error
	if errors.As(err, &faults) {
		for _, p := range faults.Problems {
			fmt.Fprintln(stderr, p)
		}
		return nil
	}
	if err != nil {
		failed(stderr, fmt.Errorf("%s: can't be read: %w", path, reason(err)))
		return nil
	}
	for _, w := range f.Warnings {
		fmt.Fprintf(stderr, "%s:%d: warning: %s\n", w.File, w.Line, w.Message)
	}
	return f
}

// count is "1 limit" or "2 limits".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
