package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter"
)

// happening is something that was done meanwhile, such as to a permitd.
type happening struct {
	N        int       `json:"n"` // from 1, in order of time
	At       time.Time `json:"at"`
	Text     string    `json:"text"`
	Strategy string    `json:"strategy,omitempty"` // whose run it fell into; absent: into none
	AtS      *float64  `json:"at_s,omitempty"`     // since that run began
}

// String is like "2, at 3.2 s: worker 2 killed".
func (e happening) String() string {
	at := "outside of the runs, at " + e.At.UTC().Format(time.RFC3339)
	if e.AtS != nil {
		at = fmt.Sprintf("at %.1f s", *e.AtS)
	}
	return fmt.Sprintf("%d, %s: %s", e.N, at, e.Text)
}

// maxEventText is how long the text of an event may be, in characters.
const maxEventText = 200

// readEvents reads the file of --events: in each line a time of RFC 3339, blanks and a text. Empty lines and those that
// begin with # are passed over.
func readEvents(path string) ([]happening, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	defer f.Close()
	events, err := parseEvents(f)
	if err != nil {
		return nil, fmt.Errorf("--events: %s:%w", path, err)
	}
	return events, nil
}

// parseEvents reads events and numbers them. An error begins with the number of the line.
func parseEvents(r io.Reader) ([]happening, error) {
	var events []happening
	lines := bufio.NewScanner(r)
	n := 1
	for ; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at, text, _ := strings.Cut(line, " ")
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return nil, fmt.Errorf("%d: it must begin with a time like 2026-10-01T12:00:03.2Z, not %.40q", n, at)
		}
		if text = strings.TrimSpace(text); !limiter.Printable(text, maxEventText) {
			return nil, fmt.Errorf("%d: after the time there must be a text of 1 to %d printable characters", n, maxEventText)
		}
		events = append(events, happening{At: when, Text: text})
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%d: the line is too long", n)
	} else if err != nil {
		return nil, fmt.Errorf("%d: %w", n, err)
	}
	slices.SortStableFunc(events, func(a, b happening) int { return a.At.Compare(b.At) })
	for i := range events {
		events[i].N = i + 1
	}
	return events, nil
}

// happened puts events into the runs.
func (r *report) happened(events []happening) {
	for i := range events {
		e := &events[i]
		for _, run := range r.Runs {
			if at := e.At.Sub(run.began).Seconds(); at >= 0 && at <= run.ElapsedS {
				e.Strategy, e.AtS = run.Strategy, &at
			}
		}
	}
	r.Events = events
}

// eventsOf are those that fell into the run of a strategy.
func (r *report) eventsOf(strategy string) []happening {
	return slices.DeleteFunc(slices.Clone(r.Events), func(e happening) bool { return e.Strategy != strategy })
}

// writeEvents says what happened.
func (r *report) writeEvents(w io.Writer) {
	if len(r.Events) > 0 {
		fmt.Fprintln(w)
	}
	for _, e := range r.Events {
		of := ""
		if len(r.Runs) > 1 && e.Strategy != "" {
			of = " (" + e.Strategy + ")"
		}
		fmt.Fprintf(w, "event %s%s\n", e, of)
	}
}
