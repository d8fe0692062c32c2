package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

const tiers = `{"limits":{
	"key-rpm":  {"scope":"key","kind":"rate","amount":60,"per":"1m","burst":2},
	"rpd":      {"scope":"pool","kind":"quota","amount":1000,"per":"day"},
	"tpm":      {"scope":"provider","kind":"rate","unit":"tokens","counts":{"input_tokens":1,"output_tokens":1},"amount":60000,"per":"1m","burst":1500},
	"watch":    {"scope":"provider","kind":"rate","amount":1,"per":"1m","mode":"shadow"}}}`

const ask = `{"provider":"openrouter","key":"sk-1","model":"m","cost":{"input_tokens":1000}}`

const limitShape = `{name:string scope:string kind:string unit:string amount:number cost:number remaining:number reset_ms:number retry_after_ms:number mode:string would_deny:bool}`

func TestGrant(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	got := serve(t, s).permit(`{"provider":"openrouter","key":"sk-1","model":"m","cost":{"input_tokens":1000,"pages":3},"dry_run":false,"hold":false}`)
	want := `{"allowed":true,"provider":"openrouter","key_id":"` + limiter.KeyID("sk-1") + `","pool":null,"revision":1,"degraded":false,"limits":[` +
		`{"name":"key-rpm","scope":"key","kind":"rate","unit":"requests","amount":60,"cost":1,"remaining":1,"reset_ms":1000,"retry_after_ms":0,"mode":"enforce","would_deny":false},` +
		`{"name":"rpd","scope":"pool","kind":"quota","unit":"requests","amount":1000,"cost":1,"remaining":999,"reset_ms":43200000,"retry_after_ms":0,"mode":"enforce","would_deny":false},` +
		`{"name":"tpm","scope":"provider","kind":"rate","unit":"tokens","amount":60000,"cost":1000,"remaining":500,"reset_ms":1000,"retry_after_ms":0,"mode":"enforce","would_deny":false},` +
		`{"name":"watch","scope":"provider","kind":"rate","unit":"requests","amount":1,"cost":1,"remaining":0,"reset_ms":60000,"retry_after_ms":0,"mode":"shadow","would_deny":false}` +
		`],"ignored_units":["pages"]}`
	if got.status != http.StatusOK || got.text != want {
		t.Errorf("status %d\n got %s\nwant %s", got.status, got.text, want)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
}

func TestDenial(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	r.permit(ask)
	counters := store.Len()
	for range 2 { // the second finds what the first left: nothing
		got := r.permit(ask)
		want := `{allowed:bool provider:string key_id:string pool:null revision:number degraded:bool limits:[` +
			strings.Join([]string{limitShape, limitShape, limitShape, limitShape}, " ") + `] ignored_units:[] ` +
			`type:string title:string status:number detail:string retry_after_ms:number violated-policies:[string]}`
		if got := shape(t, got.text); got != want {
			t.Errorf("shape\n got %s\nwant %s", got, want)
		}
		var d struct {
			Type       string
			Status     int
			Detail     string
			Allowed    bool
			RetryAfter int      `json:"retry_after_ms"`
			Violated   []string `json:"violated-policies"`
			Limits     []struct {
				Name       string
				Remaining  int
				RetryAfter int  `json:"retry_after_ms"`
				WouldDeny  bool `json:"would_deny"`
			}
		}
		decode(t, got.text, &d)
		if got.status != 429 || d.Status != 429 || d.Allowed || d.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" {
			t.Errorf("%d %+v", got.status, d)
		}
		if got.header.Get("Content-Type") != "application/problem+json" || got.header.Get("Retry-After") != "1" {
			t.Errorf("headers %v", got.header)
		}
		if d.RetryAfter != 500 || strings.Join(d.Violated, " ") != "tpm" || !strings.Contains(d.Detail, "tpm") || !strings.Contains(d.Detail, "500ms") {
			t.Errorf("%+v", d)
		}
		if l := d.Limits[2]; l.Name != "tpm" || l.Remaining != 500 || l.RetryAfter != 500 {
			t.Errorf("tpm %+v", l)
		}
		if l := d.Limits[0]; l.Remaining != 1 || l.RetryAfter != 0 {
			t.Errorf("a denial charged key-rpm: %+v", l)
		}
		if l := d.Limits[3]; !l.WouldDeny {
			t.Errorf("watch %+v", l)
		}
	}
	if store.Len() != counters {
		t.Errorf("%d counters, %d before the denials", store.Len(), counters)
	}
}

func TestDenialDetail(t *testing.T) {
	for _, tt := range []struct {
		violated []string
		wait     limiter.Instant
		want     string
	}{
		{[]string{"rpm"}, 1, "limit rpm has no room for this cost now and nothing was charged: ask again in 1ms"},
		{[]string{"rpm"}, 2_400_001, "limit rpm has no room for this cost now and nothing was charged: ask again in 2.401s"},
		{[]string{"rpd", "rpm"}, 7200_000001, "limits rpd, rpm have no room for this cost now and nothing was charged: ask again in 2h0m1s"},
	} {
		if got := denialDetail(tt.violated, tt.wait.Time().Sub(limiter.Instant(0).Time())); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestDryRunChargesNothing(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	for range 3 {
		got := r.permit(`{"provider":"openrouter","key":"sk-1","model":"m","dry_run":true}`)
		if got.status != 200 || !strings.Contains(got.text, `"remaining":2,"reset_ms":0`) {
			t.Errorf("%d %s", got.status, got.text)
		}
	}
	if store.Len() != 0 {
		t.Errorf("%d counters", store.Len())
	}
}

// entries is a server whose provider has a pool and keys.
func entries(t *testing.T) *remote {
	s, _ := newTestServer(t, nil)
	p := parsePolicy(t, `{"unknown_keys":"deny","limits":{"rpm":{"scope":"pool","kind":"rate","amount":60,"per":"1m"}}}`)
	docs := limiter.ProviderDocs{Provider: "closed", Policy: p}
	add := func(kind limiter.EntryKind, name, doc string) {
		e, err := limiter.ParseEntry(kind, []byte(doc), p)
		if err != nil {
			t.Fatal(err)
		}
		docs.Entries = append(docs.Entries, limiter.EntryDoc{Name: name, Entry: e})
	}
	add(limiter.PoolEntry, "acme", `{"limits":{"rpm":{"amount":30}}}`)
	add(limiter.PoolEntry, "gone", `{"disabled":true}`)
	add(limiter.KeyEntry, limiter.KeyID("pooled"), `{"pool":"acme"}`)
	add(limiter.KeyEntry, limiter.KeyID("off"), `{"disabled":true}`)
	add(limiter.KeyEntry, limiter.KeyID("off-by-pool"), `{"pool":"gone"}`)
	seed(t, s.coordinator, docs)
	return serve(t, s)
}

func TestPoolIsNamed(t *testing.T) {
	got := entries(t).permit(`{"provider":"closed","key_id":"` + limiter.KeyID("pooled") + `"}`)
	if got.status != 200 || !strings.Contains(got.text, `"pool":"acme"`) || !strings.Contains(got.text, `"amount":30`) {
		t.Errorf("%d %s", got.status, got.text)
	}
}

func TestKeysAreRefused(t *testing.T) {
	r := entries(t)
	r.permit(`{"provider":"closed","key":"stranger"}`).problem(t, 403, "unknown-key")
	r.permit(`{"provider":"closed","key":"off"}`).problem(t, 403, "key-disabled")
	r.permit(`{"provider":"closed","key":"off-by-pool"}`).problem(t, 403, "key-disabled")
}

// TestProblems goes through what a request for a permit may be refused for.
func TestProblems(t *testing.T) {
	s, store := newTestServer(t, map[string]string{
		"openrouter": tiers,
		"modelled":   `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m","models":["m*"]}}}`,
	})
	r := serve(t, s)
	long := strings.Repeat(" ", maxBody)
	for name, tt := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		want               string
		pointers           string
	}{
		"no body":            {body: "", headers: []string{"Content-Type: application/json"}, status: 400, want: "invalid-request"},
		"malformed":          {body: `{"provider":`, status: 400, want: "invalid-request"},
		"missing model":      {body: `{"provider":"modelled","key":"k"}`, status: 400, want: "invalid-request", pointers: "/model"},
		"idempotency":        {body: ask, headers: []string{`Idempotency-Key: "a`}, status: 400, want: "invalid-request"},
		"unknown provider":   {body: `{"provider":"nobody","key":"k"}`, status: 404, want: "unknown-provider"},
		"unknown route":      {method: "GET", path: "/v1/nothing", status: 404, want: "not-found"},
		"trailing slash":     {path: "/v1/permits/", body: ask, status: 404, want: "not-found"},
		"method":             {method: "GET", status: 405, want: "method-not-allowed"},
		"too large":          {body: ask + long, status: 413, want: "body-too-large"},
		"no media type":      {body: ask, headers: []string{"Content-Type:"}, status: 415, want: "unsupported-media-type"},
		"other media type":   {body: ask, headers: []string{"Content-Type: text/plain"}, status: 415, want: "unsupported-media-type"},
		"other charset":      {body: ask, headers: []string{"Content-Type: application/json; charset=latin1"}, status: 415, want: "unsupported-media-type"},
		"compressed":         {body: ask, headers: []string{"Content-Encoding: gzip"}, status: 415, want: "unsupported-media-type"},
		"cost never fits":    {body: `{"provider":"openrouter","key":"k","cost":{"input_tokens":1501}}`, status: 422, want: "cost-exceeds-limit"},
		"largest cost":       {body: `{"provider":"openrouter","key":"k","cost":{"requests":1000000000000}}`, status: 422, want: "cost-exceeds-limit"},
		"cost above the top": {body: `{"provider":"openrouter","key":"k","cost":{"requests":1000000000001}}`, status: 400, want: "invalid-request", pointers: "/cost/requests"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = "POST"
			}
			if tt.path == "" {
				tt.path = "/v1/permits"
			}
			got := r.do(tt.method, tt.path, tt.body, tt.headers...)
			p := got.problem(t, tt.status, tt.want)
			if p.pointers() != tt.pointers {
				t.Errorf("pointers %q, want %q", p.pointers(), tt.pointers)
			}
			if tt.status == 400 && len(p.Errors) == 0 {
				t.Error("no errors")
			}
			if got.header.Get("Retry-After") != "" {
				t.Error("Retry-After, though waiting does not help")
			}
		})
	}
	if store.Len() != 0 {
		t.Errorf("refused requests left %d counters", store.Len())
	}
}

func TestMethodNotAllowedListsMethods(t *testing.T) {
	s, _ := newTestServer(t, nil)
	got := serve(t, s).do("GET", "/v1/permits", "")
	if allow := got.header.Get("Allow"); !strings.Contains(allow, "POST") {
		t.Errorf("Allow %q", allow)
	}
}

func TestCostErrorNamesTheLimit(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	p := serve(t, s).permit(`{"provider":"openrouter","key":"k","cost":{"input_tokens":1501}}`).problem(t, 422, "cost-exceeds-limit")
	for _, want := range []string{"1501", "tpm", "1500", "tokens"} {
		if !strings.Contains(p.Detail, want) {
			t.Errorf("detail %q lacks %q", p.Detail, want)
		}
	}
}

func TestMediaTypeParameters(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	for _, ct := range []string{"application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON", "application/json; version=1"} {
		if got := r.permit(ask, "Content-Type: "+ct); got.status == 415 {
			t.Errorf("%s: %s", ct, got.text)
		}
	}
}

// TestChunkedBodyIsLimited: the limit holds for a body that does not announce its length.
func TestChunkedBodyIsLimited(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	body := struct{ *strings.Reader }{strings.NewReader(ask + strings.Repeat(" ", maxBody))} // hides its length
	resp, err := r.client.Post(r.url+"/v1/permits", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || store.Len() != 0 {
		t.Errorf("status %d, %d counters", resp.StatusCode, store.Len())
	}
}

// brokenStore has one policy and decides nothing.
type brokenStore struct {
	limiter.Store
	err   error
	panic any
}

func (b brokenStore) Decide(_ context.Context, charges []*limiter.Charge) {
	if b.panic != nil {
		panic(b.panic)
	}
	for _, c := range charges {
		c.Outcome.Err = b.err
	}
}

func TestFailures(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7:6379: password hunter2")
	for name, tt := range map[string]struct {
		store      brokenStore
		status     int
		want       string
		retryAfter string
	}{
		"store away": {brokenStore{err: errors.Join(limiter.ErrStoreUnavailable, secret)}, 503, "store-unavailable", "1"},
		"overloaded": {brokenStore{err: limiter.ErrOverloaded}, 503, "overloaded", "1"},
		"cancelled":  {brokenStore{err: context.Canceled}, 503, "overloaded", "1"},
		"unforeseen": {brokenStore{err: secret}, 500, "internal", ""},
		"panic":      {brokenStore{panic: secret}, 500, "internal", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, tt.store.Store = newTestServer(t, map[string]string{"openrouter": tiers})
			broken := New(limiter.New(tt.store), Options{})
			r := serve(t, broken)
			for range 2 { // the server goes on
				got := r.permit(ask)
				got.problem(t, tt.status, tt.want)
				if got.header.Get("Retry-After") != tt.retryAfter {
					t.Errorf("Retry-After %q, want %q", got.header.Get("Retry-After"), tt.retryAfter)
				}
				if strings.Contains(got.text, "hunter2") {
					t.Error("internal text reached the client")
				}
			}
		})
	}
}

func TestAnswersAreValidJSON(t *testing.T) {
	odd := &problem{status: 400, name: "x", title: `"quoted" \ title`, detail: "tab\tand \xff", faults: []limiter.Fault{{Pointer: "/a~1b\"", Detail: "é\u2028"}}}
	if text := odd.append(nil); !json.Valid(text) {
		t.Errorf("%s", text)
	}
}
