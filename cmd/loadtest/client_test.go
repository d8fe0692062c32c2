package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoff(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n, most := range []time.Duration{20, 40, 80, 160, 320, 640, 1000, 1000, 1000} {
		most *= time.Millisecond
		var low, high time.Duration = time.Hour, 0
		for range 2000 {
			d := backoff(n, time.Minute, random) - time.Minute
			low, high = min(low, d), max(high, d)
		}
		if low < 0 || low > most/50 || high >= most || high < most-most/50 {
			t.Errorf("after refusal %d the jitter is from %s to %s, want 0 to %s", n, low, high, most)
		}
	}
	if d := backoff(1000, 0, random); d < 0 || d >= mostJitter {
		t.Errorf("after a thousand refusals: %s", d)
	}
}

// answers is a transport that gives permitd's and the provider's answers in turn, the last again and again.
type answers struct{ permitd, provider []string }

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	from := &a.permitd
	if r.URL.Path == chatPath {
		from = &a.provider
	}
	status, body, _ := strings.Cut((*from)[0], " ")
	if len(*from) > 1 {
		*from = (*from)[1:]
	}
	code := map[string]int{"200": 200, "429": 429, "500": 500, "502": 502, "503": 503, "504": 504}[status]
	res := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	if by, ms, ok := strings.Cut(body, " "); ok && code == 429 && r.URL.Path == chatPath {
		res.Header.Set(refusedBy, by)
		res.Header.Set(retryAfterMS, ms)
	}
	return res, nil
}

// one is the provider of requests that name none.
func one(m *meter) map[string]*upstream { return map[string]*upstream{"": {"http://mock", m}} }

// answered is a call that the provider took.
const answered = `200 {"usage":{"prompt_tokens":5,"completion_tokens":100}}`

func TestClient(t *testing.T) {
	const (
		denied  = `429 {"retry_after_ms":3000}`
		refused = "429 platform 3000"
	)
	for _, tt := range []struct {
		name     string
		answers  answers
		permitd  []string
		patience time.Duration
		want     counts
		waits    time.Duration // without jitter
		jitter   time.Duration // at most
		errors   string
	}{
		{"at once", answers{[]string{"200 {}"}, []string{answered}}, []string{"http://permitd"}, time.Minute,
			counts{Served: 1, Asked: 1, Allowed: 1}, 0, 0, ""},
		{"denied twice", answers{[]string{denied, denied, "200 {}"}, []string{answered}}, []string{"http://permitd"}, time.Minute,
			counts{Served: 1, Asked: 3, Allowed: 1, Denied: 2}, 6 * time.Second, 60 * time.Millisecond, ""},
		{"refused upstream asks again", answers{[]string{"200 {}"}, []string{refused, answered}}, []string{"http://permitd"}, time.Minute,
			counts{Served: 1, Asked: 2, Allowed: 2, Upstream429: 1, ByPlatform: 1}, 3 * time.Second, 20 * time.Millisecond, ""},
		{"without permitd", answers{nil, []string{refused, answered}}, nil, time.Minute,
			counts{Served: 1, Upstream429: 1, ByPlatform: 1}, 3 * time.Second, 20 * time.Millisecond, ""},
		{"gives up before it would be too late", answers{[]string{denied}, nil}, []string{"http://permitd"}, 10 * time.Second,
			counts{GaveUp: 1, Asked: 4, Denied: 4}, 9 * time.Second, 140 * time.Millisecond, ""},
		{"permitd has no decision", answers{[]string{`503 nope`, "200 {}"}, []string{answered}}, []string{"http://permitd"}, time.Minute,
			counts{Served: 1, Asked: 2, Allowed: 1, NoDecision: 1}, 0, 20 * time.Millisecond, "permitd: 503"},
		{"the load balancer has no answer", answers{[]string{`502 nope`, `504 nope`, "200 {}"}, []string{answered}}, []string{"http://permitd"}, time.Minute,
			counts{Served: 1, Asked: 3, Allowed: 1, NoDecision: 2}, 0, 60 * time.Millisecond, "permitd: 502"},
		{"permitd fails", answers{[]string{`500 nope`}, nil}, []string{"http://permitd"}, time.Minute,
			counts{Failed: 1, Asked: 1}, 0, 0, "permitd: 500"},
		{"permitd talks nonsense", answers{[]string{`200 nope`}, nil}, []string{"http://permitd"}, time.Minute,
			counts{Failed: 1, Asked: 1}, 0, 0, "permitd: not what was expected"},
		{"the provider does not say how long to wait", answers{[]string{`200 {}`}, []string{"429 "}}, []string{"http://permitd"}, time.Minute,
			counts{Failed: 1, Asked: 1, Allowed: 1}, 0, 0, "provider: not what was expected"},
		{"the provider does not say what the call took", answers{[]string{`200 {}`}, []string{"200 {}"}}, []string{"http://permitd"}, time.Minute,
			counts{Failed: 1, Asked: 1, Allowed: 1}, 0, 0, "provider: not what was expected"},
		{"the provider fails", answers{[]string{`200 {}`}, []string{"503 "}}, []string{"http://permitd"}, time.Minute,
			counts{Failed: 1, Asked: 1, Allowed: 1}, 0, 0, "provider: 503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done, start := 0, time.Now()
				m := &meter{now: func() time.Duration { return time.Since(start) }}
				c := &clients{
					http: &http.Client{Transport: &tt.answers}, upstream: &http.Client{Transport: &tt.answers}, permitd: tt.permitd, providers: one(m),
					patience: tt.patience, tally: newTally(func() { done++ }),
				}
				c.serve(t.Context(), 0, &row{Context: 5, Key: "k"}, start)
				o := c.tally.read()
				if o.counts != tt.want || done != 1 {
					t.Errorf("%+v, want %+v; done %d times", o.counts, tt.want, done)
				}
				took := time.Since(start)
				if took < tt.waits || took > tt.waits+tt.jitter {
					t.Errorf("took %s, want %s and at most %s more", took, tt.waits, tt.jitter)
				}
				if u := m.read(); u.Waiting != 0 || u.Waited != took {
					t.Errorf("%+v after %s", u, took)
				}
				if (tt.errors != "") != (o.Errors[tt.errors] == 1) {
					t.Errorf("errors: %v", o.Errors)
				}
			})
		})
	}
}

func TestClientStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		m := &meter{now: func() time.Duration { return time.Since(start) }}
		c := &clients{
			upstream: &http.Client{Transport: &answers{nil, []string{"429 platform 60000"}}},
			patience: time.Hour, providers: one(m), tally: newTally(func() {}),
		}
		c.run(ctx, &trace{rows: []row{{Context: 1}, {At: time.Hour, Context: 1}}}, 1)
		if took, u := time.Since(start), m.read(); took != time.Second || u.Waiting != 0 {
			t.Errorf("took %s, %d wait", took, u.Waiting)
		}
	})
}

// A client that the provider refuses waits for its capacity, unless only the limit of its account keeps it.
func TestClientWaitsForItsAccount(t *testing.T) {
	for by, waited := range map[string]time.Duration{"account": 0, "platform": 3 * time.Second, "platform,account": 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			m := &meter{now: func() time.Duration { return time.Since(start) }}
			c := &clients{upstream: &http.Client{Transport: &answers{nil, []string{"429 " + by + " 3000", answered}}}, providers: one(m),
				patience: time.Minute, tally: newTally(func() {})}
			c.serve(t.Context(), 0, &row{Context: 5, Key: "k"}, start)
			o, u := c.tally.read(), m.read()
			want := counts{Served: 1, Upstream429: 1}
			if strings.Contains(by, limitPlatform) {
				want.ByPlatform = 1
			}
			if strings.Contains(by, limitAccount) {
				want.ByAccount = 1
			}
			if o.counts != want || u.Waited.Truncate(time.Second) != waited {
				t.Errorf("%s: %+v, waited %s", by, o.counts, u.Waited)
			}
		})
	}
}
