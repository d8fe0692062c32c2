package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// assertion is an expectation of a figure of the report of one strategy, such as split:used>=0.97.
type assertion struct {
	strategy string
	named    bool // the strategy was said
	figure   string
	op       string
	bound    float64
}

func (a assertion) String() string {
	strategy := ""
	if a.named {
		strategy = a.strategy + ":"
	}
	return strategy + a.figure + a.op + strconv.FormatFloat(a.bound, 'g', -1, 64)
}

var assertionForm = regexp.MustCompile(`^\s*(?:([a-z_]+):)?([a-z][a-z0-9_.]*)\s*(>=|<=|!=|==|=|>|<)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*$`)

// parseAssertion reads [STRATEGY:]FIGURE OPERATOR NUMBER, of a figure that is in known and a strategy that is run. Without
// one it is of permitd, or of the only strategy.
func parseAssertion(s string, known, run []string) (assertion, error) {
	m := assertionForm.FindStringSubmatch(s)
	if m == nil {
		return assertion{}, fmt.Errorf("an assertion must be like used>=0.97, with one of = != < <= > >=, not %q", s)
	}
	a := assertion{strategy: m[1], named: m[1] != "", figure: m[2], op: m[3]}
	var err error
	if a.bound, err = strconv.ParseFloat(m[4], 64); err != nil {
		return assertion{}, fmt.Errorf("an assertion must compare with a number, not %q", m[4])
	}
	if !slices.Contains(known, a.figure) {
		return assertion{}, fmt.Errorf("there is no figure %q to assert; there are %s", a.figure, strings.Join(known, ", "))
	}
	if a.op == "==" {
		a.op = "="
	}
	switch {
	case a.named && !slices.Contains(run, a.strategy):
		return assertion{}, fmt.Errorf("the assertion %s is of a strategy that is not run; add %s to --strategy", s, a.strategy)
	case !a.named && slices.Contains(run, strategyPermitd):
		a.strategy = strategyPermitd
	case !a.named && len(run) == 1:
		a.strategy = run[0]
	case !a.named:
		return assertion{}, fmt.Errorf("the assertion %s needs a strategy, such as %s:%s", s, run[0], strings.TrimSpace(s))
	}
	return a, nil
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
