package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func (r *remote) batch(body string, headers ...string) answer {
	r.t.Helper()
	return r.do(http.MethodPost, "/v1/permits/batch", body, headers...)
}

// TestBatch: decisions come in order, each as if its ask had been sent alone.
func TestBatch(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers})
	got := serve(t, s).batch(`{"permits":[` + strings.Join([]string{
		`{"provider":"openrouter","key":"a"}`,
		`{"provider":"nobody","key":"a"}`,
		`{"provider":"openrouter","key":"a","cost":{"requests":-1}}`,
		`{"provider":"openrouter","key":"a"}`,
		`7`,
		`{"provider":"openrouter","key":"a"}`,
		`{"provider":"openrouter","key":"a","cost":{"input_tokens":1501}}`,
		`{"provider":"openrouter","key":"b","idempotency_key":""}`,
		`{"provider":"openrouter","key":"b","dry_run":true}`,
	}, ",") + `]}`)
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("RateLimit") != "" {
		t.Fatalf("%d %v %s", got.status, got.header, got.text)
	}
	var doc struct{ Decisions []json.RawMessage }
	decode(t, got.text, &doc)
	want := []struct {
		status   int
		name     string
		pointers string
	}{{200, "", ""}, {404, "unknown-provider", ""}, {400, "invalid-request", "/cost/requests"}, {200, "", ""}, {400, "invalid-request", ""},
		{429, "#quota-exceeded", ""}, {422, "cost-exceeds-limit", ""}, {400, "invalid-request", "/idempotency_key"}, {200, "", ""}}
	if len(doc.Decisions) != len(want) {
		t.Fatalf("%d decisions", len(doc.Decisions))
	}
	for i, raw := range doc.Decisions {
		var d struct {
			problemDoc
			Allowed *bool
		}
		decode(t, string(raw), &d)
		w := want[i]
		decided := w.status == 200 || w.status == 429
		if d.Status != w.status || !strings.HasSuffix(d.Type, w.name) || d.pointers() != w.pointers ||
			decided != (d.Allowed != nil) || decided && *d.Allowed != (w.status == 200) {
			t.Errorf("%d: %s, want %+v", i, raw, w)
		}
	}
	if want := `{allowed:bool provider:string key_id:string pool:null revision:number degraded:bool limits:[` +
		strings.Join([]string{limitShape, limitShape, limitShape, limitShape}, " ") + `] ignored_units:[] status:number}`; shape(t, string(doc.Decisions[0])) != want {
		t.Errorf("shape %s", doc.Decisions[0])
	}
	if got := store.Len(); got != 3 { // key-rpm and rpd of a, watch; nothing was charged to tpm, or to b
		t.Errorf("%d counters", got)
	}
}

func TestBatchFaults(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	many := func(n int) string {
		return `{"permits":[` + strings.TrimSuffix(strings.Repeat(ask+",", n), ",") + `]}`
	}
	for name, tt := range map[string]struct{ body, pointers, detail string }{
		"not an object":    {`[]`, "", "must be an object"},
		"no permits":       {`{}`, "/permits", "1 to 1000"},
		"empty":            {`{"permits":[]}`, "/permits", "1 to 1000"},
		"not an array":     {`{"permits":{}}`, "/permits", "must be an array"},
		"too many":         {many(1001), "/permits", "1001"},
		"given twice":      {`{"permits":[` + ask + `],"permits":[` + ask + `]}`, "/permits", "twice"},
		"unknown member":   {`{"permits":[` + ask + `],"dry_run":true}`, "/dry_run", "unknown member"},
		"malformed inside": {`{"permits":[` + ask + `,{]}`, "", "malformed"},
		"cut off":          {`{"permits":[` + ask, "", "too early"},
		"trailing":         {many(1) + `x`, "", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.batch(tt.body).problem(t, 400, "invalid-request")
			if p.pointers() != tt.pointers || len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Detail, tt.detail) {
				t.Errorf("errors %q", p.Errors)
			}
		})
	}
	r.batch(many(1), `Idempotency-Key: "x"`).problem(t, 400, "invalid-request")
	r.batch(many(1)+strings.Repeat(" ", maxBatchBody)).problem(t, 413, "body-too-large")
	r.batch(many(1), "Content-Type: text/csv").problem(t, 415, "unsupported-media-type")
	if store.Len() != 0 {
		t.Errorf("refused batches left %d counters", store.Len())
	}
}

func TestFullBatch(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`})
	var asks []string
	for i := range maxBatch {
		asks = append(asks, fmt.Sprintf(`{"provider":"openrouter","key":"sk-%d"}`, i))
	}
	got := serve(t, s).batch(`{"permits":[` + strings.Join(asks, ",") + `]}`)
	var doc struct {
		Decisions []struct {
			Status int
			KeyID  string `json:"key_id"`
		}
	}
	decode(t, got.text, &doc)
	if len(doc.Decisions) != maxBatch {
		t.Fatalf("%d decisions", len(doc.Decisions))
	}
	for i, d := range doc.Decisions {
		if d.Status != 200 || d.KeyID != limiter.KeyID(fmt.Sprintf("sk-%d", i)) {
			t.Fatalf("%d: %+v", i, d)
		}
	}
}
