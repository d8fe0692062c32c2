package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// trouble is one thing that went wrong with asks, and when.
type trouble struct {
	What      string    `json:"what"`
	Asks      int64     `json:"asks"`
	Stretches []stretch `json:"stretches"`
}

// stretch is a time in which something went on: from the first answer of its kind to the last.
type stretch struct {
	Asks  int64   `json:"asks"`
	FromS float64 `json:"from_s"`
	ToS   float64 `json:"to_s"`
}

// sameStretch is how long nothing may happen within a stretch; what happens within a slot of the course is of the same.
const sameStretch = time.Second

// troubles are what went wrong, each in order of time.
func (c *course) troubles() []trouble {
	if c == nil {
		return nil
	}
	var list []trouble
	for _, t := range []struct {
		what  string
		kinds []answerKind
	}{
		{"degraded", []answerKind{answerDegradedGrant, answerDegradedDenial}},
		{"no decision", []answerKind{answerUndecided, answerNone}}, // as they are counted together
		{"failed", []answerKind{answerFault}},
	} {
		if stretches := c.stretches(t.kinds); len(stretches) > 0 {
			sum := trouble{What: t.what, Stretches: stretches}
			for _, s := range stretches {
				sum.Asks += s.Asks
			}
			list = append(list, sum)
		}
	}
	return list
}

// stretches are when asks were answered in one of these ways.
func (c *course) stretches(kinds []answerKind) []stretch {
	var list []stretch
	for _, slot := range c.slots {
		var sum answerCount
		for _, kind := range kinds {
			sum.add(slot.kinds[kind])
		}
		if sum.n == 0 {
			continue
		}
		from, to := sum.first.Seconds(), sum.last.Seconds()
		if last := len(list) - 1; last >= 0 && from-list[last].ToS <= sameStretch.Seconds() {
			list[last].Asks += sum.n
			list[last].ToS = to
		} else {
			list = append(list, stretch{sum.n, from, to})
		}
	}
	return list
}

// String is like "no decision: 37 asks from 4.1 s to 6.2 s". Of many stretches it has the largest.
func (t trouble) String() string {
	text := fmt.Sprintf("%s: %s", t.What, asks(t.Asks))
	if len(t.Stretches) == 1 {
		return text + " " + t.Stretches[0].String()
	}
	const shown = 3
	bySize := slices.SortedFunc(slices.Values(t.Stretches), func(a, b stretch) int { return cmp.Compare(b.Asks, a.Asks) })
	least := bySize[min(shown, len(bySize))-1].Asks
	rest := t.Asks
	var parts []string
	for _, s := range t.Stretches {
		if s.Asks >= least && len(parts) < shown {
			parts = append(parts, fmt.Sprintf("%d %s", s.Asks, s))
			rest -= s.Asks
		}
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("%d at other times", rest))
	}
	return text + ": " + strings.Join(parts, ", ")
}

func (s stretch) String() string {
	from, to := fmt.Sprintf("%.1f s", s.FromS), fmt.Sprintf("%.1f s", s.ToS)
	if from == to {
		return "at " + from
	}
	return "from " + from + " to " + to
}

func asks(n int64) string {
	if n == 1 {
		return "1 ask"
	}
	return fmt.Sprintf("%d asks", n)
}
