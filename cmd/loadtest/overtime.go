package main

import (
	"fmt"
	"math"
	"slices"
)

// answerNames are how the page calls the ways in which asks are answered.
var answerNames = [answerKinds]string{
	answerGrant: "granted", answerDenial: "denied", answerDegradedGrant: "granted, degraded", answerDegradedDenial: "denied, degraded",
	answerUndecided: "no decision (502, 503, 504)", answerNone: "no answer", answerFault: "failed",
}

// Places of the kinds in the palette.
var answerColors = [answerKinds]int{
	answerGrant: blue, answerDenial: black, answerDegradedGrant: green, answerDegradedDenial: purple, answerUndecided: red, answerNone: ochre, answerFault: wine,
}

// overTime shows how asks went, and what happened meanwhile.
func (r *report) overTime(t timeline) topic {
	top := topic{ID: "over-time", Title: "Over time",
		Text: "How asks for permits were answered, per second, at the moment of the answer; and how long it took, from when an ask was due. An answer that is degraded comes from a permitd that does not reach its store. An ask without a decision or an answer is made again."}
	took := chart{labels: t.labels, height: 240, marks: t.marks(r.Events)}
	for i, run := range r.Runs {
		if run.course == nil || len(run.course.slots) == 0 {
			continue
		}
		marks := t.marks(r.eventsOf(run.Strategy))
		good := t.answers(i, []answerKind{answerGrant, answerDenial}, marks)
		bad := t.answers(i, []answerKind{answerDegradedGrant, answerDegradedDenial, answerUndecided, answerNone, answerFault}, marks)
		first := titledChart{Title: run.Strategy, chart: good}
		for _, w := range run.WentWrong {
			first.Lines = append(first.Lines, w.String())
		}
		for _, e := range r.eventsOf(run.Strategy) {
			first.Events = append(first.Events, pageEvent{e.N, fmt.Sprintf("%.1f s", *e.AtS), e.Text})
		}
		top.Charts = append(top.Charts, first)
		if len(bad.values) > 0 {
			top.Charts = append(top.Charts, titledChart{Title: run.Strategy + ": what went wrong", chart: bad})
		}
		took.names, took.colors = append(took.names, run.Strategy), append(took.colors, i)
		took.values = append(took.values, t.p99(i))
	}
	if len(took.values) == 0 {
		top.Text = "Nobody was asked for a permit."
		return top
	}
	took.ceil = ceilOf(took.values)
	top.Charts = append(top.Charts, titledChart{Title: "99th percentile of asking, ms", chart: took})
	return top
}

// answers is a chart of those of the kinds that there were; the first is always there.
func (t timeline) answers(run int, kinds []answerKind, marks []mark) chart {
	c := chart{labels: t.labels, height: 220, marks: marks}
	for _, kind := range kinds {
		values := make([]float64, len(t.labels))
		for i, s := range t.courses[run] {
			values[i] = float64(s.kinds[kind].n) / t.piece.Seconds()
		}
		if slices.Max(values) > 0 || kind == answerGrant {
			c.names, c.colors, c.values = append(c.names, answerNames[kind]), append(c.colors, answerColors[kind]), append(c.values, values)
		}
	}
	c.ceil = ceilOf(c.values)
	return c
}

// p99 is a series of milliseconds, with gaps where nothing was answered.
func (t timeline) p99(run int) []float64 {
	values := make([]float64, len(t.labels))
	for i := range values {
		if ms, ok := t.courses[run][i].p99(); ok {
			values[i] = ms
		} else {
			values[i] = math.NaN()
		}
	}
	return values
}

// marks are where events fall on the axis.
func (t timeline) marks(events []happening) []mark {
	var list []mark
	for _, e := range events {
		if e.AtS == nil {
			continue
		}
		at := min(int(*e.AtS/t.piece.Seconds()), len(t.labels)-1)
		list = append(list, mark{at, e.N})
	}
	return list
}
