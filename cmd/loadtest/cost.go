package main

import (
	"fmt"
	"slices"
	"strings"
)

// costRule says how much of a unit a request costs, as sums and differences of columns: "tokens=context+generated".
type costRule struct {
	unit  string
	terms []costTerm
}

type costTerm struct {
	sign   int64
	column func(*row) int64
}

var costColumns = map[string]func(*row) int64{
	"context":   func(r *row) int64 { return r.Context },
	"generated": func(r *row) int64 { return r.Generated },
	"cached":    func(r *row) int64 { return r.Cached },
}

// parseCost reads UNIT=COLUMN[+COLUMN|-COLUMN]...
func parseCost(s string) (costRule, error) {
	unit, sum, ok := strings.Cut(s, "=")
	if !ok || unit == "" {
		return costRule{}, fmt.Errorf("a cost must be like tokens=context+generated, not %q", s)
	}
	rule := costRule{unit: unit}
	for rest, sign := sum, int64(1); ; {
		at := strings.IndexAny(rest, "+-")
		name := rest
		if at >= 0 {
			name = rest[:at]
		}
		column := costColumns[strings.TrimSpace(name)]
		if column == nil {
			return costRule{}, fmt.Errorf("a cost adds or subtracts the columns context, generated and cached; %q has %q", s, name)
		}
		rule.terms = append(rule.terms, costTerm{sign, column})
		if at < 0 {
			return rule, nil
		}
		if sign = 1; rest[at] == '-' {
			sign = -1
		}
		rest = rest[at+1:]
	}
}

// of is what a request costs, at least 0.
func (c costRule) of(r *row) int64 {
	var sum int64
	for _, t := range c.terms {
		sum += t.sign * t.column(r)
	}
	return max(0, sum)
}

// parseCosts reads several rules, each for another unit.
func parseCosts(list []string) ([]costRule, error) {
	rules := make([]costRule, 0, len(list))
	for _, s := range list {
		rule, err := parseCost(s)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(rules, func(r costRule) bool { return r.unit == rule.unit }) {
			return nil, fmt.Errorf("the cost of %s is given twice", rule.unit)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// tokensOf is what the mock provider counts: all tokens of a request.
func tokensOf(r *row) int64 { return r.Context + r.Generated }
