package api

import (
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

const oncePolicy = `{"limits":{
	"rpm":      {"scope":"key","kind":"rate","amount":60,"per":"1m","burst":10},
	"inflight": {"scope":"key","kind":"concurrency","amount":8}}}`

func TestAskIsGrantedOnce(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openai": oncePolicy})
	r := serve(t, s)
	const ask = `{"provider":"openai","key":"sk-1","cost":{"requests":4}}`
	first := r.permit(ask, `Idempotency-Key: "8e03978e-40d5"`)
	if first.status != 200 || first.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v", first.status, first.header)
	}
	for _, key := range []string{`Idempotency-Key: "8e03978e-40d5"`, `Idempotency-Key: 8e03978e-40d5`, `Idempotency-Key: "8e03978e-40d5";a=1`} {
		again := r.permit(ask, key)
		if again.status != 200 || again.text != first.text || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %d %v\n%s\nfirst\n%s", key, again.status, again.header, again.text, first.text)
		}
	}
	r.permit(`{"provider":"openai","key":"sk-1","cost":{"requests":3}}`, `Idempotency-Key: 8e03978e-40d5`).problem(t, 422, "idempotency-mismatch")
	if other := r.permit(ask, `Idempotency-Key: other`); other.text == first.text {
		t.Error("another key was given the same answer")
	}
	if d := r.permit(ask, `Idempotency-Key: third`); d.status != 429 {
		t.Errorf("%d %s", d.status, d.text)
	}
	for _, bad := range []string{`""`, `"` + strings.Repeat("a", 256) + `"`, strings.Repeat("a", 256), "a b", `"a`, "a/b", "?1", `("a")`} {
		if p := r.permit(ask, "Idempotency-Key: "+bad).problem(t, 400, "invalid-request"); len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Detail, "quoted string") {
			t.Errorf("%s: %+v", bad, p)
		}
	}
	if p := r.permit(`{"provider":"openai","key":"sk-1","idempotency_key":"a"}`).problem(t, 400, "invalid-request"); p.pointers() != "/idempotency_key" {
		t.Errorf("%+v", p)
	}
}

func TestBatchElementsAreGrantedOnce(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openai": oncePolicy})
	r := serve(t, s)
	a := r.do("POST", "/v1/permits/batch", `{"permits":[
		{"provider":"openai","key":"sk-1","idempotency_key":"a b"},
		{"provider":"openai","key":"sk-1","idempotency_key":"a b"},
		{"provider":"openai","key":"sk-2","idempotency_key":"a b"},
		{"provider":"openai","key":"sk-1","idempotency_key":""},
		{"provider":"openai","key":"sk-1","idempotency_key":7}]}`)
	var got struct {
		Decisions []struct {
			Status   int
			PermitID string `json:"permit_id"`
			Replayed bool   `json:"idempotency_replayed"`
		}
	}
	decode(t, a.text, &got)
	d := got.Decisions
	if d[0].Status != 200 || d[0].Replayed || d[1].Status != 200 || !d[1].Replayed || d[1].PermitID != d[0].PermitID || d[0].PermitID == "" {
		t.Errorf("%+v", d)
	}
	if d[2].Status != 422 || d[3].Status != 400 || d[4].Status != 400 {
		t.Errorf("%+v", d)
	}
}

func TestSlotsInHeaders(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openai": oncePolicy})
	r := serve(t, s)
	a := r.permit(`{"provider":"openai","key":"sk-1"}`)
	for field, want := range map[string]map[string]any{
		"RateLimit-Policy": {"q": int64(8), "qu": "concurrent-requests"},
		"RateLimit":        {"r": int64(7)},
	} {
		list, err := httpsfv.UnmarshalList(a.header.Values(field))
		if err != nil || len(list) != 2 {
			t.Fatalf("%s: %v, %v", field, a.header.Values(field), err)
		}
		item := list[0].(httpsfv.Item)
		if item.Value != "inflight" || len(item.Params.Names()) != len(want) {
			t.Errorf("%s: %v", field, a.header.Values(field))
		}
		for name, value := range want {
			if got, _ := item.Params.Get(name); got != value {
				t.Errorf("%s: %s is %v, want %v", field, name, got, value)
			}
		}
	}
	if !strings.Contains(a.text, `"permit_id":"p_openai_`) {
		t.Errorf("a slot implies a hold: %s", a.text)
	}
	for range 7 {
		r.permit(`{"provider":"openai","key":"sk-1"}`)
	}
	full := r.permit(`{"provider":"openai","key":"sk-1"}`)
	if full.status != 429 || full.header.Get("Retry-After") != "1" || !strings.Contains(full.text, `"violated-policies":["inflight"]`) || !strings.Contains(full.text, `"retry_after_ms":1000`) {
		t.Errorf("%d %v %s", full.status, full.header, full.text)
	}
}
