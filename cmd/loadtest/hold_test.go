package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script is a transport that answers each kind of request in turn, the last again and again, and notes what it was sent.
// A status of 0 is a connection that breaks.
type script struct {
	ask, provider, settle, cancel []string
	call                          time.Duration // that the provider takes

	keys   []string // Idempotency-Keys of asks
	bodies []string // of permitd's requests, with their path
	cut    int      // answers of the provider that were not read to their end
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	from := &s.provider
	if path, ok := strings.CutPrefix(r.URL.Path, "/v1/permits"); ok {
		from = map[string]*[]string{"": &s.ask, "/p_1/settle": &s.settle, "/p_1/cancel": &s.cancel}[path]
		s.bodies = append(s.bodies, path+string(body))
		if path == "" {
			s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
		}
	}
	if from == nil || len(*from) == 0 {
		return nil, fmt.Errorf("nobody expects %s", r.URL)
	}
	status, answer, _ := strings.Cut((*from)[0], " ")
	if len(*from) > 1 {
		*from = (*from)[1:]
	}
	code := map[string]int{"200": 200, "404": 404, "429": 429, "503": 503}[status]
	if code == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	res := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}
	switch {
	case from == &s.provider && code == 429:
		res.Header.Set(retryAfterMS, "3000")
	case from == &s.provider:
		res.Body = &lateBody{Reader: strings.NewReader(answer), after: s.call, cut: &s.cut}
	}
	return res, nil
}

// lateBody ends after a time. One that is closed before is cut.
type lateBody struct {
	io.Reader
	after time.Duration
	cut   *int
	over  bool
}

func (b *lateBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !b.over {
		time.Sleep(b.after)
		b.over = true
	}
	return n, err
}

func (b *lateBody) Close() error {
	if !b.over && b.after > 0 {
		*b.cut++
	}
	return nil
}

func TestReservingClient(t *testing.T) {
	const (
		granted = `200 {"permit_id":"p_1"}`
		denied  = `429 {"retry_after_ms":3000}`
		refund  = `200 {"adjusted":{"tokens":-900}}`
		call    = 3 * time.Second
	)
	yes := []string{answered}
	for _, tt := range []struct {
		name     string
		script   script
		die      float64
		noSettle bool
		want     counts
		holds    holdCounts
		keys     string // of the asks: equal letters are equal keys
		takes    time.Duration
		jitter   time.Duration // at most
	}{
		{name: "settled", script: script{ask: []string{granted}, provider: yes, settle: []string{refund}}, keys: "a", takes: call,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Settled: 1, Refunded: 900}},
		{name: "took more than reserved", script: script{ask: []string{granted}, provider: yes, settle: []string{`200 {"adjusted":{"tokens":7}}`}}, keys: "a", takes: call,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Settled: 1, Extra: 7}},
		{name: "not settled", script: script{ask: []string{granted}, provider: yes}, noSettle: true, keys: "a", takes: call,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005}},
		{name: "dies during its call", script: script{ask: []string{granted}, provider: yes}, die: 1, keys: "a",
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Died: 1}},
		{name: "a lost answer and a 503 keep the key, a denial does not",
			script: script{ask: []string{"lost", "503 ", denied, granted}, provider: yes, settle: []string{refund}}, keys: "aaab", takes: call + 3*time.Second, jitter: 140 * time.Millisecond,
			want: counts{Served: 1, Asked: 4, Allowed: 1, Denied: 1, NoDecision: 2}, holds: holdCounts{Reserved: 1005, Settled: 1, Refunded: 900}},
		{name: "refused upstream cancels, and asks for another permit",
			script: script{ask: []string{granted}, provider: []string{"429 ", answered}, cancel: []string{"lost", `200 {"adjusted":{"tokens":-1005}}`}, settle: []string{refund}},
			keys:   "ab", takes: call + 3*time.Second, jitter: 40 * time.Millisecond,
			want: counts{Served: 1, Asked: 2, Allowed: 2, Upstream429: 1}, holds: holdCounts{Reserved: 2010, Settled: 1, Cancelled: 1, Refunded: 1905}},
		{name: "settles again until it is answered", script: script{ask: []string{granted}, provider: yes, settle: []string{"lost", "503 ", refund}}, keys: "a", takes: call, jitter: 60 * time.Millisecond,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Settled: 1, Refunded: 900}},
		{name: "settles in vain", script: script{ask: []string{granted}, provider: yes, settle: []string{"lost"}}, keys: "a", takes: call, jitter: time.Minute,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Unsettled: 1}},
		{name: "may not settle", script: script{ask: []string{granted}, provider: yes, settle: []string{"404 "}}, keys: "a", takes: call,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Unsettled: 1}},
		{name: "an answer without usage", script: script{ask: []string{granted}, provider: []string{"200 {}"}}, keys: "a", takes: call,
			want: counts{Served: 1, Asked: 1, Allowed: 1}, holds: holdCounts{Reserved: 1005, Unsettled: 1}},
		{name: "a grant without an id", script: script{ask: []string{"200 {}"}}, keys: "a",
			want: counts{Failed: 1, Asked: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				m := &meter{now: func() time.Duration { return time.Since(start) }}
				tt.script.call = call
				c := &clients{
					http: &http.Client{Transport: &tt.script}, upstream: &http.Client{Transport: &tt.script}, permitd: []string{"http://permitd"}, providers: one(m),
					costs: []costRule{mustCost(t, "tokens=context+generated")}, patience: time.Minute, tally: newTally(func() {}), runID: "run",
					reserving: &reserving{output: 1000, ttl: 7 * time.Second, noSettle: tt.noSettle, die: tt.die},
				}
				c.serve(t.Context(), 0, &row{Context: 5, Generated: 99, Key: "k"}, start) // the answer says 100
				if o := c.tally.read(); o.counts != tt.want || *o.Holds != tt.holds {
					t.Errorf("%+v, want %+v", o.counts, tt.want)
					t.Errorf("%+v, want %+v", *o.Holds, tt.holds)
				}
				if took := time.Since(start); took < tt.takes || took > tt.takes+tt.jitter {
					t.Errorf("took %s, want %s and at most %s more", took, tt.takes, tt.jitter)
				}
				if got := letters(tt.script.keys); got != tt.keys {
					t.Errorf("keys %q, want %s", tt.script.keys, tt.keys)
				}
				checkBodies(t, tt.script.bodies)
				if cut := tt.script.cut; cut != int(tt.holds.Died) {
					t.Errorf("%d answers were cut", cut)
				}
				if u := m.read(); u.Waiting != 0 || u.Waited > 4*time.Second {
					t.Errorf("%+v: a call is no wait", u)
				}
			})
		})
	}
}

func mustCost(t *testing.T, text string) costRule {
	t.Helper()
	rule, err := parseCost(text)
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

// letters names each key by when it first came: a, b, c.
func letters(keys []string) string {
	var seen []string
	var b strings.Builder
	for _, k := range keys {
		if !slices.Contains(seen, k) {
			seen = append(seen, k)
		}
		b.WriteByte('a' + byte(slices.Index(seen, k)))
	}
	return b.String()
}

// checkBodies sees that asks are for the estimate, and settle to what the call took.
func checkBodies(t *testing.T, bodies []string) {
	t.Helper()
	for _, b := range bodies {
		path, body, _ := strings.Cut(b, "{")
		var sent struct {
			Cost  map[string]int64
			Hold  bool
			TTLMS int64 `json:"ttl_ms"`
		}
		if err := json.Unmarshal([]byte("{"+body), &sent); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		want := map[string]map[string]int64{"": {"tokens": 1005}, "/p_1/settle": {"tokens": 105}}[path]
		if !maps.Equal(sent.Cost, want) || path == "" && (!sent.Hold || sent.TTLMS != 7000) {
			t.Errorf("sent %s", b)
		}
	}
}

// TestTheSameClientsDie runs the lots of one seed twice, and those of another.
func TestTheSameClientsDie(t *testing.T) {
	lots := func(seed uint64) (dead string) {
		c := &clients{seed: seed, reserving: &reserving{die: 0.2}}
		for n := range 500 {
			if c.newHold(n).dies {
				dead += fmt.Sprint(n, " ")
			}
		}
		return dead
	}
	first := lots(1)
	if n := len(strings.Fields(first)); n < 70 || n > 130 {
		t.Errorf("%d of 500 die, want about 100", n)
	}
	if lots(1) != first || lots(2) == first {
		t.Error("who dies does not hang on the seed")
	}
}

// TestARunHasItsOwnKeys fails if a second run were answered with the permits of the first.
func TestARunHasItsOwnKeys(t *testing.T) {
	keys := map[string]bool{}
	for _, run := range []string{"one", "two"} {
		c := &clients{seed: 1, runID: run, reserving: &reserving{}}
		for n := range 3 {
			h := c.newHold(n)
			for range 2 {
				keys[h.reserve(&permitAsk{})] = true
				h.decided("")
			}
		}
	}
	if len(keys) != 12 {
		t.Errorf("%d keys, want 12: %v", len(keys), keys)
	}
}
