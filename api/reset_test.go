package api

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// used is what is used of the limits that a query of usage shows.
func (r *remote) used(query string) map[string]int64 {
	r.t.Helper()
	var doc struct {
		Limits []struct {
			Name string
			Used int64
		}
	}
	decode(r.t, r.get("/v1/providers/p/usage"+query).text, &doc)
	used := map[string]int64{}
	for _, l := range doc.Limits {
		used[l.Name] = l.Used
	}
	return used
}

func TestReset(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	r.wrote(201, "PUT", "/v1/providers/p/pools/acme", `{}`)
	r.wrote(201, "POST", "/v1/providers/p/keys", `{"key":"sk-1","pool":"acme"}`)
	const path = "/v1/providers/p/reset"
	for _, tt := range []struct {
		body, reset  string
		all, rpd, me int64 // used after it
	}{
		{`{"key_id":"` + sk1 + `","limits":["rpm"]}`, "rpm", 1, 1, 0},
		{`{"key_id":"` + sk1 + `"}`, "rpm", 2, 2, 0},
		{`{"pool":"acme"}`, "rpd", 3, 0, 1},
		{`{}`, "all", 0, 1, 2},
		{`{"all_keys":true,"limits":["rpm"]}`, "rpm", 0, 1, 0},
		{`{"all_keys":true}`, "all rpd rpm", 0, 0, 0},
	} {
		if tt.body != `{"all_keys":true,"limits":["rpm"]}` {
			r.permit(`{"provider":"p","key":"sk-1"}`)
		}
		got := r.tune("POST", path+"?note=again", tt.body)
		var doc struct {
			Provider string
			KeyID    *string `json:"key_id"`
			Pool     *string
			Revision int64
			Reset    []string
		}
		decode(t, got.text, &doc)
		if got.status != 200 || doc.Provider != "p" || doc.Revision < 2 || strings.Join(doc.Reset, " ") != tt.reset ||
			(doc.KeyID != nil) != strings.Contains(tt.body, "key_id") || (doc.Pool != nil) != strings.Contains(tt.body, "pool") {
			t.Errorf("%s: %d %s", tt.body, got.status, got.text)
		}
		if used := r.used("?key_id=" + sk1); used["all"] != tt.all || used["rpd"] != tt.rpd || used["rpm"] != tt.me {
			t.Errorf("%s: used %v, want %+v", tt.body, used, tt)
		}
	}
}

func TestResetRefused(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	const path = "/v1/providers/p/reset"
	r.permit(`{"provider":"p","key":"sk-1"}`)
	for body, want := range map[string]string{
		`{"limits":["all","rph","rpm"]}`:                  "/limits/1 /limits/2",
		`{"key_id":"` + sk1 + `","limits":["all"]}`:       "/limits/0",
		`{"pool":"acme","limits":["rpm"]}`:                "/limits/0",
		`{"key_id":"` + sk1 + `","pool":"acme"}`:          "",
		`{"key_id":"` + sk1 + `","all_keys":true}`:        "",
		`{"key_id":"` + strings.ToUpper(sk1) + `","x":1}`: "/key_id /x",
	} {
		p := r.tune("POST", path, body).problem(t, 400, "invalid-request")
		if p.pointers() != want || len(p.Errors) == 0 {
			t.Errorf("%s: %q", body, p.Errors)
		}
	}
	r.tune("POST", "/v1/providers/nobody/reset", `{}`).problem(t, 404, "unknown-provider")
	if used := r.used("?key_id=" + limiter.KeyID("sk-1")); used["all"] != 1 || used["rpm"] != 1 {
		t.Errorf("used %v", used)
	}
}
