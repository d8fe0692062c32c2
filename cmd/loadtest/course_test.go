package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// courseAt is a course, with a clock that is set by hand.
func courseAt(unit time.Duration) (*course, *time.Duration) {
	now := new(time.Duration)
	return newCourse(unit, func() time.Duration { return *now }), now
}

func TestKindsOfAnswers(t *testing.T) {
	for _, tt := range []struct {
		v    verdict
		err  error
		want answerKind
	}{
		{verdict{granted: true}, nil, answerGrant},
		{verdict{granted: true, degraded: true}, nil, answerDegradedGrant},
		{verdict{}, nil, answerDenial},
		{verdict{degraded: true}, nil, answerDegradedDenial},
		{verdict{}, &callError{"permitd", 502, nil}, answerUndecided},
		{verdict{}, &callError{"permitd", 503, nil}, answerUndecided},
		{verdict{}, &callError{"permitd", 504, nil}, answerUndecided},
		{verdict{}, &callError{"permitd", 0, errors.New("connection refused")}, answerNone},
		{verdict{}, &callError{"permitd", 0, errNonsense}, answerFault},
		{verdict{}, &callError{"permitd", 500, nil}, answerFault},
	} {
		if got := kindOf(tt.v, tt.err); got != tt.want {
			t.Errorf("%+v, %v: %s, want %s", tt.v, tt.err, answerNames[got], answerNames[tt.want])
		}
	}
}

// A course keeps every ask, however long it lasts, in slots that stay few.
func TestCourseStaysSmall(t *testing.T) {
	c, now := courseAt(10 * time.Millisecond)
	for i := range 1000 {
		*now = time.Duration(i) * 10 * time.Millisecond
		c.add(answerGrant, time.Duration(i)*time.Millisecond)
	}
	*now = time.Hour
	c.add(answerDenial, time.Hour)
	if len(c.slots) > chartPoints || len(c.slots) < chartPoints/2 || c.slot() != 4096*10*time.Millisecond {
		t.Errorf("%d slots of %s", len(c.slots), c.slot())
	}
	if first := c.slots[0].kinds[answerGrant]; first != (answerCount{1000, 0, 9990 * time.Millisecond}) {
		t.Errorf("%+v", first)
	}
	if p99, ok := c.slots[0].p99(); !ok || p99 < 985 || p99 > 997 {
		t.Errorf("p99 %g ms, want 990", p99)
	}
	if _, ok := c.slots[1].p99(); ok {
		t.Error("there is a percentile of nothing")
	}
	last := c.slots[len(c.slots)-1]
	if p99, _ := last.p99(); p99 < 600_000 || last.kinds[answerDenial].n != 1 { // more than can be kept
		t.Errorf("p99 %g ms, %+v", p99, last.kinds)
	}
	var sum int64
	for _, s := range c.gather(2*c.width, len(c.slots)) {
		sum += s.kinds[answerGrant].n + s.kinds[answerDenial].n
	}
	if sum != 1001 {
		t.Errorf("%d asks, want 1001", sum)
	}
}

func TestTroubles(t *testing.T) {
	c, now := courseAt(100 * time.Millisecond)
	at := func(d time.Duration, n int, kind answerKind) {
		*now = d
		for range n {
			c.add(kind, time.Millisecond)
		}
	}
	said := func() string {
		var lines []string
		for _, w := range c.troubles() {
			lines = append(lines, w.String())
		}
		return strings.Join(lines, "; ")
	}
	at(time.Second, 5, answerGrant)
	if got := said(); got != "" {
		t.Error(got)
	}
	at(4100*time.Millisecond, 30, answerUndecided)
	at(5050*time.Millisecond, 1, answerNone)
	at(6*time.Second, 6, answerUndecided)
	at(6*time.Second, 1, answerDegradedGrant)
	if got := said(); got != "degraded: 1 ask at 6.0 s; no decision: 37 asks from 4.1 s to 6.0 s" {
		t.Error(got)
	}
	at(8*time.Second, 2, answerUndecided)
	if got := c.troubles()[1].String(); got != "no decision: 39 asks: 37 from 4.1 s to 6.0 s, 2 at 8.0 s" {
		t.Error(got)
	}
	at(10*time.Second, 1, answerUndecided)
	at(12*time.Second, 50, answerUndecided)
	at(14*time.Second, 1, answerUndecided)
	if got := c.troubles()[1].String(); got != "no decision: 91 asks: 37 from 4.1 s to 6.0 s, 2 at 8.0 s, 50 at 12.0 s, 2 at other times" {
		t.Error(got)
	}
}

func TestMarkNumbers(t *testing.T) {
	c := chart{labels: make([]string, 100), marks: []mark{{0, 1}, {0, 2}, {1, 3}, {20, 4}, {26, 5}, {99, 6}}}
	if got := fmt.Sprintf("%q", c.markNumbers(wideChart)); got != `["1–3" "" "4" "5" "6"]` {
		t.Error(got)
	}
	if got := fmt.Sprintf("%q", c.markNumbers(narrowChart)); got != `["1–3" "" "4–5" "" "6"]` {
		t.Error(got)
	}
}
