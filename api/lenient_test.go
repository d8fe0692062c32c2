package api

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// TestWholeNumbers: a whole number is one however it is written, and exact, wherever permitd reads one in JSON.
func TestWholeNumbers(t *testing.T) {
	const cost = `{"provider":"p","key":"k","cost":{"requests":N}}`
	const policy = `{"limits":{"rpd":{"scope":"key","kind":"quota","amount":N,"per":"day"}}}`
	for _, tt := range []struct{ number, plain string }{
		{"1200", "1200"}, {"1200.0", "1200"}, {"1200.00", "1200"}, {"1.2e3", "1200"}, {"1.2E+3", "1200"}, {"120000e-2", "1200"},
		{"1e12", "1000000000000"}, {"0.000000000001e24", "1000000000000"}, {"999999999999.0", "999999999999"},
	} {
		r, _ := tuned(t, map[string]string{"p": `{"limits":{"rpd":{"scope":"key","kind":"quota","amount":1000000000000,"per":"day"}}}`})
		one := strings.Replace(cost, "N", tt.number, 1)
		charged := `"cost":` + tt.plain + `,`
		if got := r.permit(one); got.status != 200 || !strings.Contains(got.text, charged) {
			t.Errorf("an ask for %s: %d %s", tt.number, got.status, got.text)
		}
		other := strings.Replace(one, `"k"`, `"batch"`, 1)
		if got := r.do("POST", "/v1/permits/batch", `{"permits":[`+other+`]}`); !strings.Contains(got.text, charged) {
			t.Errorf("a batch for %s: %s", tt.number, got.text)
		}
		if got := r.previewed(`{"permits":[` + strings.Replace(one, `"k"`, `"preview"`, 1) + `]}`); !strings.Contains(got[0], charged) {
			t.Errorf("a preview for %s: %s", tt.number, got)
		}
		held := r.held(`{"provider":"p","key":"held","hold":true,"ttl_ms":6.0e4}`)
		if !strings.HasPrefix(held.Expires, "2026-11-23T12:01:00") {
			t.Errorf("expires at %s", held.Expires)
		}
		if got := r.on(held.ID, "extend", `{"ttl_ms":120000.0}`); !strings.Contains(got.text, "12:02:00") {
			t.Errorf("extend: %d %s", got.status, got.text)
		}
		if got := r.on(held.ID, "settle", `{"cost":{"requests":`+tt.number+`}}`); !strings.Contains(got.text, `"state":"settled"`) {
			t.Errorf("settled to %s: %d %s", tt.number, got.status, got.text)
		}
		used := `"used":` + tt.plain + `,`
		if got := r.get("/v1/providers/p/usage?key_id=" + limiter.KeyID("held")); !strings.Contains(got.text, used) {
			t.Errorf("settled to %s: %s", tt.number, got.text)
		}
		r.wrote(200, "PUT", "/v1/providers/p", strings.Replace(policy, "N", tt.number, 1))
		amount := `"amount":` + tt.plain + `,`
		if got := r.get("/v1/providers/p/usage"); strings.Contains(got.text, "rpd") {
			t.Error("a limit of scope key in the usage of the provider")
		}
		if got := r.get("/v1/providers/p/usage?key_id=" + limiter.KeyID("new")); !strings.Contains(got.text, amount) {
			t.Errorf("an amount of %s: %s", tt.number, got.text)
		}
		r.wrote(201, "PUT", "/v1/providers/p/keys/"+limiter.KeyID("new"), `{"limits":{"rpd":{"amount":`+tt.number+`}}}`)
		if got := r.get("/v1/providers/p/usage?key_id=" + limiter.KeyID("new")); !strings.Contains(got.text, amount) {
			t.Errorf("an override of %s: %s", tt.number, got.text)
		}
		r.wrote(200, "POST", "/v1/providers/p/rollback", `{"revision":1.0}`)
	}
}

// TestNullIsAbsence: of a member of an ask. Elsewhere null is refused, as in [TestAskFaults] and its like.
func TestNullIsAbsence(t *testing.T) {
	const nulls = `"key_id":null,"model":null,"cost":null,"dry_run":null,"hold":null,"ttl_ms":null`
	s, _ := newTestServer(t, map[string]string{"p": `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`})
	r := serve(t, s)
	plain := r.permit(`{"provider":"p","key":"k1"}`)
	if got := r.permit(`{"provider":"p","key":"k2",` + nulls + `}`); got.status != 200 ||
		strings.ReplaceAll(got.text, limiter.KeyID("k2"), limiter.KeyID("k1")) != plain.text {
		t.Errorf("%d %s\nwant %s", got.status, got.text, plain.text)
	}
	if got := r.permit(`{"provider":"p","key":null,"key_id":"` + limiter.KeyID("k3") + `"}`); got.status != 200 {
		t.Errorf("by key id: %d %s", got.status, got.text)
	}
	got := r.do("POST", "/v1/permits/batch", `{"permits":[{"provider":"p","key":"k4","idempotency_key":null,`+nulls+`},{"provider":null,"key":"k4"}]}`)
	if got.status != 200 || strings.Count(got.text, `"allowed":true`) != 1 || !strings.Contains(got.text, `"pointer":"/provider","detail":"is missing`) {
		t.Errorf("a batch: %d %s", got.status, got.text)
	}
}

// TestLongKeys: wherever an API key is taken it may have 4096 characters, of whatever length in bytes.
func TestLongKeys(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`})
	for _, char := range []string{"k", "é", "\U0001f511"} {
		key := strings.Repeat(char, limiter.MaxKeyLen)
		for _, tt := range []struct{ path, body string }{
			{"/v1/permits", `{"provider":"p","key":"` + key + `"}`},
			{"/v1/permits/batch", `{"permits":[{"provider":"p","key":"` + key + `"}]}`},
			{"/v1/providers/p/preview", `{"permits":[{"key":"` + key + `"}]}`},
			{"/v1/providers/p/keys", `{"key":"` + key + `"}`},
			{"/v1/providers/p/keys", `[{"key":"` + key + `"}]`},
		} {
			got := r.tune("POST", tt.path, tt.body)
			if got.status > 201 || !strings.Contains(got.text, limiter.KeyID(key)) || strings.Contains(got.text, char+char+char) {
				t.Errorf("%s with a key of %q: %d %.300s", tt.path, char, got.status, got.text)
			}
		}
		old := limiter.KeyID(char)
		r.wrote(201, "PUT", "/v1/providers/p/keys/"+old, `{}`)
		next := strings.Repeat(char, limiter.MaxKeyLen-1)
		if got := r.tune("POST", "/v1/providers/p/keys/"+old+"/rotate", `{"key":"`+next+`"}`); got.status != 200 || !strings.Contains(got.text, limiter.KeyID(next)) {
			t.Errorf("rotated to a key of %q: %d %s", char, got.status, got.text)
		}
	}
	escaped := strings.Repeat(`\ud83d\udd11`, limiter.MaxKeyLen) // the most bytes that a key can take
	if got := r.permit(`{"provider":"p","key":"` + escaped + `"}`); got.status != 200 {
		t.Errorf("escaped: %d %.300s", got.status, got.text)
	}
}
