package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// previewed is a preview's decisions, as texts.
func (r *remote) previewed(body string) (texts []string) {
	r.t.Helper()
	got := r.tune("POST", "/v1/providers/p/preview", body)
	var doc struct{ Decisions []json.RawMessage }
	decode(r.t, got.text, &doc)
	if got.status != 200 || doc.Decisions == nil {
		r.t.Fatalf("%d %s", got.status, got.text)
	}
	for _, d := range doc.Decisions {
		texts = append(texts, string(d))
	}
	return texts
}

// TestPreview: asks are decided as the policy would have it, by the usage as it is, and nothing is stored or charged.
func TestPreview(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": `{"limits":{"rpd":{"scope":"key","kind":"quota","amount":10,"per":"day"}}}`})
	for range 4 {
		r.permit(`{"provider":"p","key":"sk-1"}`)
	}
	before, used := r.get("/v1/providers/p"), r.get("/v1/providers/p/usage?key_id="+sk1)
	const lower = `{"limits":{"rpd":{"scope":"key","kind":"quota","amount":4,"per":"day"}}}`
	for body, want := range map[string][]string{
		`{"permits":[{"key":"sk-1"},{"key":"sk-1","cost":{"requests":7}},{"provider":"p","key":"sk-2"},{"key":"sk-1","cost":{"requests":11}}]}`: {`"allowed":true`, `"status":429`, `"allowed":true`, `"status":422`},
		`{"policy":` + lower + `,"permits":[{"key":"sk-1"},{"key":"sk-2"},{"key":"sk-2","cost":{"requests":5}}]}`:                               {`"status":429`, `"allowed":true`, `"status":422`},
		`{"policy":{"limits":{"rpm":{"scope":"key","kind":"rate","amount":5,"per":"1m","per_model":true}}},"permits":[{"key":"sk-1"}]}`:         {`"status":400`},
		`{"policy":{"unknown_keys":"deny","limits":{}},"permits":[{"key":"sk-1"}]}`:                                                             {`"status":403`},
		`{"policy":{"unknown_models":"deny","unknown_units":"deny","limits":{"tpm":{"scope":"key","kind":"rate","unit":"tokens","amount":5,"per":"1m","models":["m"],"required":true}}},` +
			`"permits":[{"key":"sk-1","model":"n"},{"key":"sk-1","model":"m"},{"key":"sk-1","model":"m","cost":{"tokens":1,"tokns":1}},{"key":"sk-1","model":"m","cost":{"tokens":1}}]}`: {
			`urn:permitd:problem:unknown-model`, `"pointer":"/cost","detail":"names no unit of limit tpm, which requires one: name tokens"`, `"pointer":"/cost/tokns"`, `"allowed":true`},
		`{"permits":[]}`: nil,
	} {
		got := r.previewed(body)
		if len(got) != len(want) {
			t.Errorf("%s: %s", body, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], want[i]) || !strings.Contains(got[i], `"status":`) {
				t.Errorf("%s: decision %d is %s, want %s", body, i, got[i], want[i])
			}
		}
	}
	if after := r.get("/v1/providers/p"); after.text != before.text || after.header.Get("ETag") != before.header.Get("ETag") {
		t.Errorf("the policy is %s, was %s", after.text, before.text)
	}
	if after := r.get("/v1/providers/p/usage?key_id=" + sk1); after.text != used.text {
		t.Errorf("the usage is %s, was %s", after.text, used.text)
	}
	r.tune("POST", "/v1/providers/nobody/preview", `{"permits":[{"key":"sk-1"}]}`).problem(t, 404, "unknown-provider")
	if strings.Contains(log.String(), "sk-") || strings.Contains(log.String(), `"level":"INFO"`) {
		t.Errorf("logged: %s", log)
	}
}
