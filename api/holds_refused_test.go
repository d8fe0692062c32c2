package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// goodBodies are what each verb takes.
var goodBodies = map[string]string{"settle": `{"cost":{}}`, "cancel": "", "extend": `{"ttl_ms":1000}`}

// TestHoldFaults: each body is refused with these faults, in this order, and the permit stays open.
func TestHoldFaults(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	id := r.held(heldAsk).ID
	for _, tt := range []struct{ verb, body, want string }{
		{"settle", ``, `: malformed JSON: it ends too early`},
		{"settle", `{"cost":{}`, `: malformed JSON: it ends too early`},
		{"settle", `{"cost":{}} {}`, `: malformed JSON: more follows after the end`},
		{"settle", `[]`, `: must be an object, not an array`},
		{"settle", `{}`, `/cost: is missing`},
		{"settle", `{"costs":{}}`, "/costs: unknown member; known here: cost\n/cost: is missing"},
		{"settle", `{"cost":null}`, `/cost: is missing`},
		{"settle", `{"hold":null,"cost":{}}`, `/hold: unknown member; known here: cost`},
		{"settle", `{"cost":[]}`, `/cost: must be an object, not an array`},
		{"settle", `{"cost":{},"cost":{}}`, `/cost: is given twice`},
		{"settle", `{"cost":{},"hold":true}`, `/hold: unknown member; known here: cost`},
		{"settle", `{"cost":{},"idempotency_key":"a"}`, `/idempotency_key: unknown member; known here: cost`},
		{"settle", `{"cost":{"output_tokens":-1}}`, `/cost/output_tokens: must be a whole number from 0 to 1000000000000, not -1`},
		{"settle", `{"cost":{"output_tokens":1.5}}`, `/cost/output_tokens: must be a whole number`},
		{"settle", `{"cost":{"output_tokens":"1"}}`, `/cost/output_tokens: must be a whole number`},
		{"settle", `{"cost":{"a":1,"a":2}}`, `/cost/a: is given twice`},
		{"settle", `{"cost":{"A":1}}`, `/cost/A: a unit must match`},
		{"settle", `{"cost":{` + units(33) + `}}`, `/cost: names 33 units; at most 32 are allowed`},
		{"settle", `{"x":1,"cost":{"B":1,"c":-1}}`, "/x: unknown member\n/cost/c: must be a whole number\n/cost/B: a unit must match"},

		{"extend", ``, `: malformed JSON: it ends too early`},
		{"extend", `null`, `: must be an object, not null`},
		{"extend", `{}`, `/ttl_ms: is missing`},
		{"extend", `{"ttl":1000}`, "/ttl: unknown member; known here: ttl_ms\n/ttl_ms: is missing"},
		{"extend", `{"ttl_ms":0}`, `/ttl_ms: must be a whole number from 1 to 86400000, not 0`},
		{"extend", `{"ttl_ms":86400001}`, `/ttl_ms: must be a whole number from 1 to 86400000, not 86400001`},
		{"extend", `{"ttl_ms":null}`, `/ttl_ms: is missing`},
		{"extend", `{"ttl_ms":1000.5}`, `/ttl_ms: must be a whole number from 1 to 86400000, not 1000.5`},
		{"extend", `{"ttl_ms":1000,"cost":{}}`, `/cost: unknown member; known here: ttl_ms`},
		{"extend", `{"ttl_ms":1000,"ttl_ms":1000}`, `/ttl_ms: is given twice`},

		{"cancel", ` `, `: malformed JSON: it ends too early`},
		{"cancel", `null`, `: must be an object, not null`},
		{"cancel", `{"cost":{}}`, `/cost: unknown member; known here: none`},
		{"cancel", `{}{}`, `: malformed JSON: more follows`},
	} {
		p := r.on(id, tt.verb, tt.body, "Content-Type: application/json").problem(t, 400, "invalid-request")
		want := strings.Split(tt.want, "\n")
		ok := len(want) == len(p.Errors)
		for i, f := range p.Errors {
			ok = ok && strings.HasPrefix(f.Pointer+": "+f.Detail, want[i])
		}
		if !ok {
			t.Errorf("%s %.100s\n got %q\nwant %q", tt.verb, tt.body, p.Errors, want)
		}
	}
	if got := r.on(id, "cancel", ""); got.status != 200 {
		t.Errorf("the permit is not open any more: %d %s", got.status, got.text)
	}
}

// TestHoldRequests: sizes, media types and methods are those of asks.
func TestHoldRequests(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	id := r.held(heldAsk).ID
	for verb, body := range goodBodies {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE"} {
			got := r.do(method, "/v1/permits/"+id+"/"+verb, "")
			if got.status != 405 || !strings.Contains(got.header.Get("Allow"), "POST") {
				t.Errorf("%s %s: %d, Allow %q", method, verb, got.status, got.header.Get("Allow"))
			}
		}
		r.on(id, verb, body, "Host: evil.example").problem(t, 403, "forbidden")
		if body == "" {
			body = "{}"
		}
		r.on(id, verb, body+strings.Repeat(" ", maxBody)).problem(t, 413, "body-too-large")
		r.on(id, verb, body, "Content-Type:").problem(t, 415, "unsupported-media-type")
		r.on(id, verb, body, "Content-Type: text/plain").problem(t, 415, "unsupported-media-type")
		r.on(id, verb, body, "Content-Encoding: gzip").problem(t, 415, "unsupported-media-type")
	}
	r.on(id, "settle", "").problem(t, 415, "unsupported-media-type")
	r.on(id, "keep", "{}").problem(t, 404, "not-found")
	r.on(id, "settle/", "{}").problem(t, 404, "not-found")
	r.get("/v1/permits/"+id).problem(t, 404, "not-found")
	if got := r.on(id, "cancel", ""); got.status != 200 {
		t.Errorf("the permit is not open any more: %d %s", got.status, got.text)
	}
}

// TestCancelWithChunkedBody: what does not announce its length is held to the same rules.
func TestCancelWithChunkedBody(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	id := r.held(heldAsk).ID
	for _, tt := range []struct {
		body, media string
		status      int
	}{
		{"{}", "text/plain", 415}, {strings.Repeat(" ", maxBody+1), "application/json", 413}, {`{"x":1}`, "application/json", 400},
		{"{}", "application/json", 200}, {"", "text/plain", 200},
	} {
		body := struct{ *strings.Reader }{strings.NewReader(tt.body)} // hides its length
		resp, err := r.client.Post(r.url+"/v1/permits/"+id+"/cancel", tt.media, body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%.10q of %s: %d, want %d", tt.body, tt.media, resp.StatusCode, tt.status)
		}
	}
}

// TestUnknownPermits: whatever is not the id of a hold that is kept is unknown, and is not put into the log.
func TestUnknownPermits(t *testing.T) {
	var log bytes.Buffer
	c := limiter.New(memstore.New(memstore.Options{}))
	seed(t, c, limiter.ProviderDocs{Provider: "openrouter", Policy: parsePolicy(t, tiers)})
	s := New(c, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for _, id := range []string{
		noPermit, "p_nobody_AAAAAAAAAAAAAAAAAAAAAA", "p_openrouter_AAAAAAAAAAAAAAAAAAAAA", "p_", "p_openrouter_%zz", "batch",
		"p_open%0Arouter_AAAAAAAAAAAAAAAAAAAAAA", "a%2Fb", "%00", "%FF", "p_" + strings.Repeat("A", 8000),
	} {
		for verb, body := range goodBodies {
			r, err := http.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.URL.RawPath = "/v1/permits/" + id + "/" + verb
			r.URL.Path = r.URL.RawPath
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			p := answer{w.Code, w.Header(), w.Body.String()}.problem(t, 404, "unknown-permit")
			if !strings.Contains(p.Detail, "permit_id") {
				t.Errorf("detail %q", p.Detail)
			}
			if len(id) > 3 && id != "batch" && strings.Contains(w.Body.String(), id) {
				t.Errorf("the answer repeats %.50q", id)
			}
		}
	}
	if text := log.String(); !strings.Contains(text, "route=/v1/permits/:permit_id/settle") || strings.Contains(text, "AAAA") || strings.Contains(text, "p_") {
		t.Errorf("log: %s", text)
	}
}

// lostStore fails at one step of what is done to a hold, or at every one.
type lostStore struct {
	limiter.Store
	err    error
	onRead bool
}

func (l lostStore) Hold(ctx context.Context, provider, id string) (limiter.Hold, error) {
	if l.onRead {
		return limiter.Hold{}, l.err
	}
	return l.Store.Hold(ctx, provider, id)
}

func (l lostStore) CloseHold(_ context.Context, k *limiter.Closing) {
	k.Outcome = limiter.ClosingOutcome{Err: l.err}
}

func (l lostStore) ExtendHold(context.Context, string, string, time.Duration) (limiter.Hold, error) {
	return limiter.Hold{}, l.err
}

// TestHoldFailures: nobody is told that nothing was charged where permitd can't know, but that trying again is safe.
func TestHoldFailures(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7:6379: password hunter2")
	for name, tt := range map[string]struct {
		err        error
		status     int
		want       string
		retryAfter string
	}{
		"store away": {errors.Join(limiter.ErrStoreUnavailable, secret), 503, "store-unavailable", "1"},
		"overloaded": {limiter.ErrOverloaded, 503, "overloaded", "1"},
		"cancelled":  {context.Canceled, 503, "overloaded", "1"},
		"unforeseen": {secret, 500, "internal", ""},
	} {
		for _, onRead := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				_, store := newTestServer(t, map[string]string{"openrouter": tiers})
				r := serve(t, New(limiter.New(lostStore{store, tt.err, onRead}), Options{}))
				id := r.held(heldAsk).ID
				for verb, body := range goodBodies {
					got := r.on(id, verb, body)
					p := got.problem(t, tt.status, tt.want)
					if got.header.Get("Retry-After") != tt.retryAfter {
						t.Errorf("%s: Retry-After %q, want %q", verb, got.header.Get("Retry-After"), tt.retryAfter)
					}
					if strings.Contains(got.text, "hunter2") || strings.Contains(p.Detail, "charged") || !strings.Contains(p.Detail, "again") {
						t.Errorf("%s: detail %q", verb, p.Detail)
					}
				}
			})
		}
	}
}
