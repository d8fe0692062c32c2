package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// assertion is an expectation of a figure of the report, such as used>=0.97.
type assertion struct {
	figure string
	op     string
	bound  float64
}

func (a assertion) String() string {
	return a.figure + a.op + strconv.FormatFloat(a.bound, 'g', -1, 64)
}

var assertionForm = regexp.MustCompile(`^\s*([a-z][a-z0-9_.]*)\s*(>=|<=|!=|==|=|>|<)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*$`)

// parseAssertion reads FIGURE OPERATOR NUMBER, of a figure that is in known.
func parseAssertion(s string, known []string) (assertion, error) {
	m := assertionForm.FindStringSubmatch(s)
	if m == nil {
		return assertion{}, fmt.Errorf("an assertion must be like used>=0.97, with one of = != < <= > >=, not %q", s)
	}
	bound, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return assertion{}, fmt.Errorf("an assertion must compare with a number, not %q", m[3])
	}
	if !slices.Contains(known, m[1]) {
		return assertion{}, fmt.Errorf("there is no figure %q to assert; there are %s", m[1], strings.Join(known, ", "))
	}
	if m[2] == "==" {
		m[2] = "="
	}
	return assertion{m[1], m[2], bound}, nil
}

// check says how the assertion fares against figures, and whether it holds. One about a figure that the run did not
// yield is broken.
func (a assertion) check(figures map[string]float64) (string, bool) {
	v, ok := figures[a.figure]
	if !ok {
		return fmt.Sprintf("broken: %s: the run yielded no %s", a, a.figure), false
	}
	holds := map[string]bool{
		"=": v == a.bound, "!=": v != a.bound, "<": v < a.bound, "<=": v <= a.bound, ">": v > a.bound, ">=": v >= a.bound,
	}[a.op]
	verdict := "holds"
	if !holds {
		verdict = "broken"
	}
	return fmt.Sprintf("%s: %s (it is %s)", verdict, a, strconv.FormatFloat(v, 'g', 6, 64)), holds
}
