package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is one request of a trace.
type row struct {
	At        time.Duration // since the first request
	Context   int64         // tokens of the prompt, cached ones included
	Generated int64
	Cached    int64
	Model     string
	Key       string
	Provider  string
}

// trace is a sequence of requests, recorded or drawn, in the order of time.
type trace struct {
	name      string // of its file, or what it was drawn by
	rows      []row
	keys      bool          // the rows had keys of their own
	lasts     time.Duration // 0: until the last request
	providers []weighted    // that it was drawn by; none: rows tell
}

// span is how long it lasts: from the first request to the last where nothing else was said.
func (t *trace) span() time.Duration {
	if t.lasts > 0 {
		return t.lasts
	}
	return t.rows[len(t.rows)-1].At
}

const maxTraceFaults = 10

// readTrace reads a trace in the form of the Azure LLM inference traces: CSV with a header that names TIMESTAMP,
// ContextTokens and GeneratedTokens, and maybe Model, Key, Provider and CachedTokens, in any order and case; other columns are
// passed over. Rows need not be in order of time; those of the same time stay as they are. The error names each faulty
// line, up to ten.
func readTrace(name string, r io.Reader) (*trace, error) {
	buffered := bufio.NewReader(r)
	if bom, err := buffered.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		buffered.Discard(3)
	}
	in := csv.NewReader(buffered)
	in.ReuseRecord, in.TrimLeadingSpace = true, true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the trace is empty", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	columns, err := findColumns(header)
	if err != nil {
		return nil, fmt.Errorf("%s:1: %w", name, err)
	}
	t := &trace{name: name, keys: columns.key >= 0}
	var times []time.Time
	var faults []error
	for len(faults) < maxTraceFaults {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var wrongCSV *csv.ParseError
		if errors.As(err, &wrongCSV) {
			faults = append(faults, fmt.Errorf("%s:%d: %w", name, wrongCSV.Line, wrongCSV.Err))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := in.FieldPos(0)
		row, at, err := columns.row(record)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d: %w", name, line, err))
			continue
		}
		t.rows, times = append(t.rows, row), append(times, at)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("%s: the trace has a header and no requests", name)
	}
	first := slices.MinFunc(times, time.Time.Compare)
	for i := range t.rows {
		t.rows[i].At = times[i].Sub(first)
	}
	slices.SortStableFunc(t.rows, func(a, b row) int { return int(min(1, max(-1, a.At-b.At))) })
	return t, nil
}

// columns are the places of the columns; -1 where there is none.
type columns struct{ timestamp, context, generated, cached, model, key, provider int }

func findColumns(header []string) (columns, error) {
	find := func(name string) int {
		return slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
	}
	c := columns{find("TIMESTAMP"), find("ContextTokens"), find("GeneratedTokens"), find("CachedTokens"), find("Model"), find("Key"), find("Provider")}
	for name, at := range map[string]int{"TIMESTAMP": c.timestamp, "ContextTokens": c.context, "GeneratedTokens": c.generated} {
		if at < 0 {
			return c, fmt.Errorf("there is no column %s; the header must name TIMESTAMP, ContextTokens and GeneratedTokens", name)
		}
	}
	return c, nil
}

func (c columns) row(record []string) (row, time.Time, error) {
	at, err := parseTimestamp(record[c.timestamp])
	r := row{Model: c.text(record, c.model), Key: c.text(record, c.key), Provider: c.text(record, c.provider)}
	for _, tokens := range []struct {
		name string
		at   int
		into *int64
	}{{"ContextTokens", c.context, &r.Context}, {"GeneratedTokens", c.generated, &r.Generated}, {"CachedTokens", c.cached, &r.Cached}} {
		text := c.text(record, tokens.at)
		if text == "" && tokens.at == c.cached {
			continue
		}
		n, wrong := strconv.ParseInt(text, 10, 64)
		if wrong != nil || n < 0 || n > maxTokens {
			err = errors.Join(err, fmt.Errorf("%s must be a whole number from 0 to %d, not %q", tokens.name, int64(maxTokens), text))
			continue
		}
		*tokens.into = n
	}
	if err == nil && r.Cached > r.Context {
		err = fmt.Errorf("CachedTokens (%d) are part of ContextTokens (%d) and can't be more", r.Cached, r.Context)
	}
	return r, at, err
}

// maxTokens of one request: far above any model's context.
const maxTokens = 1_000_000_000

func (c columns) text(record []string, at int) string {
	if at < 0 {
		return ""
	}
	return strings.Clone(strings.TrimSpace(record[at]))
}

// parseTimestamp reads "2023-11-16 18:17:03.9799600", with or without a zone, or RFC 3339.
func parseTimestamp(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("TIMESTAMP must be like 2023-11-16 18:17:03.9799600, not %q", s)
}

const dealtKey = "loadtest-key-%04d"

// dealKeys gives each row a key out of n, the k-th about 1/k^s times as often as the first. The same seed deals the
// same keys.
func (t *trace) dealKeys(n int, seed uint64) {
	const skew = 1.1
	random := rand.New(rand.NewPCG(seed, 0x6b657973)) // a stream of its own
	zipf := rand.NewZipf(random, skew, 1, uint64(n-1))
	for i := range t.rows {
		t.rows[i].Key = fmt.Sprintf(dealtKey, zipf.Uint64()+1)
	}
}
