package main

import (
	"strings"
	"testing"
)

func TestParseCost(t *testing.T) {
	r := &row{Context: 100, Generated: 20, Cached: 70}
	for text, want := range map[string]int64{
		"tokens=context+generated":           120,
		"input_tokens=context-cached":        30,
		"x=cached-context":                   0, // never below
		"x=generated":                        20,
		"x=context-cached + generated":       50,
		"x=context+context-cached-generated": 110,
	} {
		rule, err := parseCost(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := rule.of(r); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "tokens", "=context", "tokens=", "tokens=context+", "tokens=output", "tokens=-context"} {
		if _, err := parseCost(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := parseCosts([]string{"a=context", "a=generated"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a unit given twice: %v", err)
	}
}

func TestFigure(t *testing.T) {
	for text, want := range map[string]int64{"224000": 224000, "0.7x": 70, "1e3": 1000, "0.001x": 1} {
		var f figure
		if err := f.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.of(100); got != want {
			t.Errorf("%s of 100 is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "x", "0", "-1", "nan", "inf", "5xx", "0x"} {
		if err := new(figure).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestAssertions(t *testing.T) {
	figures := map[string]float64{"used": 0.97, "upstream_429": 0}
	for text, want := range map[string]bool{
		"used>=0.97": true, "used>0.97": false, "used<=0.97": true, "used<0.98": true, " used >= 1e-3 ": true,
		"upstream_429=0": true, "upstream_429==0": true, "upstream_429!=0": false, "attainable>0": false,
	} {
		a, err := parseAssertion(text, figureNames, strategies)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		said, holds := a.check(figures)
		if holds != want || strings.HasPrefix(said, "holds: ") != want {
			t.Errorf("%s: %v, said %q", text, holds, said)
		}
	}
	for text, want := range map[string]string{
		"used": "must be like", "used>=": "must be like", "used>=x": "must be like", "used=>1": "must be like", "used>=1.2.3": "a number",
		"use>=1": `no figure "use" to assert; there are allowed, asked, attainable`,
	} {
		if _, err := parseAssertion(text, figureNames, strategies); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
