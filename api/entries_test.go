package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// scopes is a policy with a limit of each scope.
const scopes = `{"limits":{
	"all": {"scope":"provider","kind":"rate","amount":600,"per":"1m"},
	"rpd": {"scope":"pool","kind":"quota","amount":100,"per":"day"},
	"rpm": {"scope":"key","kind":"rate","amount":60,"per":"1m","burst":2}}}`

func TestEntryIsWritten(t *testing.T) {
	for _, tt := range []struct{ list, id, override string }{
		{"keys", sk1, "rpm"},
		{"pools", "acme", "rpd"},
	} {
		t.Run(tt.list, func(t *testing.T) {
			r, _ := tuned(t, map[string]string{"p": scopes})
			list := "/v1/providers/p/" + tt.list
			path := list + "/" + tt.id
			r.get(path).problem(t, 404, "not-found")
			if got := r.get(list); got.text != `{"items":[],"next_cursor":null}` {
				t.Errorf("%s", got.text)
			}
			body := `{"label":"é","limits":{"` + tt.override + `":{"amount":50}}}`
			got, _ := r.wrote(201, "PUT", path, body)
			want := `{"id":"` + tt.id + `","revision":1,"entry":` + body + `}`
			if got.text != want || got.header.Get("Location") != path {
				t.Errorf("created %s at %q, want %s", got.text, got.header.Get("Location"), want)
			}
			if read := r.get(path); read.text != want || read.header.Get("ETag") != got.header.Get("ETag") {
				t.Errorf("read %s", read.text)
			}
			if read := r.get(list); read.text != `{"items":[`+want+`],"next_cursor":null}` {
				t.Errorf("listed %s", read.text)
			}
			if got, doc := r.wrote(200, "PATCH", path, `{"label":null,"limits":{"`+tt.override+`":{"amount":40}}}`); doc.Revision != 2 ||
				!jsonEqual(t, doc.Entry, []byte(`{"limits":{"`+tt.override+`":{"amount":40}}}`)) {
				t.Errorf("patched %s", got.text)
			}
			if got, doc := r.wrote(200, "PUT", path, `{}`); doc.Revision != 3 || string(doc.Entry) != "{}" || got.header.Get("Location") != "" {
				t.Errorf("replaced %s", got.text)
			}
			r.wrote(204, "DELETE", path, "")
			r.get(path).problem(t, 404, "not-found")
			r.tune("DELETE", path, "").problem(t, 404, "not-found")
			r.tune("PATCH", path, `{}`).problem(t, 404, "not-found")
			r.wrote(201, "PUT", path, `{}`)
			for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
				r.tune(method, "/v1/providers/nobody/"+tt.list+"/"+tt.id, `{}`).problem(t, 404, "unknown-provider")
			}
			r.get("/v1/providers/nobody/"+tt.list).problem(t, 404, "unknown-provider")
		})
	}
}

// TestEntryFaults: each entry is refused with all that is wrong with it.
func TestEntryFaults(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	for _, tt := range []struct{ path, body, want string }{
		{keys1, `{"limits":{"rph":{"amount":5}}}`, "/limits/rph: the policy has no limit of this name"},
		{keys1, `{"limits":{"rpd":{"amount":5}}}`, "/limits/rpd: is a limit of scope pool"},
		{keys1, `{"limits":{"all":{"amount":5}}}`, "/limits/all: is a limit of scope provider"},
		{keys1, `{"limits":{"rpm":{"per":"day"}}}`, "/limits/rpm: only a limit of kind quota"},
		{keys1, `{"limits":{"rpm":5},"x":1,"pool":"A"}`, "/pool: a pool's name must match\n/limits/rpm: must be an object\n/x: unknown member"},
		{keys1, `{"key":"sk-1"}`, "/key: unknown member"},
		{keys1, `{"label":"a","label":"b"}`, "/label: is given twice"},
		{keys1, `{"disabled":"yes"}`, "/disabled: must be true or false"},
		{keys1, `null`, ": must be an object, not null"},
		{"/v1/providers/p/pools/acme", `{"pool":"b"}`, "/pool: unknown member"},
		{"/v1/providers/p/pools/acme", `{"limits":{"rpm":{"amount":5}}}`, "/limits/rpm: is a limit of scope key"},
		{"/v1/providers/p/pools/acme", `{"limits":{"rpd":{"amount":0},"x":{}}}`, "/limits/rpd/amount: must be\n/limits/x: the policy has no limit"},
		{"/v1/providers/p/pools/acme", `{"limits":`, ": malformed JSON"},
	} {
		p := r.tune("PUT", tt.path, tt.body).problem(t, 400, "invalid-request")
		checkFaults(t, tt.body, &limiter.InvalidError{Faults: p.Errors}, tt.want)
		r.get(tt.path).problem(t, 404, "not-found")
	}
	r.wrote(201, "PUT", keys1, `{}`)
	p := r.tune("PATCH", keys1, `{"limits":{"rph":{"amount":5}}}`).problem(t, 400, "invalid-request")
	checkFaults(t, "patch", &limiter.InvalidError{Faults: p.Errors}, "/limits/rph: the policy has no limit of this name")
}

func TestEntriesArePaged(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	const list = "/v1/providers/p/pools"
	for i := range 5 {
		r.wrote(201, "PUT", fmt.Sprintf("%s/pool-%d", list, i), `{}`)
	}
	var names []string
	pages, cursor := 0, ""
	for {
		var page struct {
			Items []resource
			Next  *string `json:"next_cursor"`
		}
		got := r.get(list + "?page_size=2&cursor=" + cursor)
		decode(t, got.text, &page)
		for _, item := range page.Items {
			names = append(names, item.ID)
		}
		if pages++; got.status != 200 || len(page.Items) > 2 || pages > 3 {
			t.Fatalf("page %d: %d %s", pages, got.status, got.text)
		}
		if page.Next == nil {
			break
		}
		cursor = *page.Next
	}
	if got := strings.Join(names, " "); got != "pool-0 pool-1 pool-2 pool-3 pool-4" || pages != 3 {
		t.Errorf("%d pages of %s", pages, got)
	}
	if got := r.get(list + "?page_size=5"); !strings.HasSuffix(got.text, `"next_cursor":null}`) {
		t.Errorf("a full last page has a next: %s", got.text)
	}
}

// TestEntryRestarts: an entry that gives a quota another window starts its counter afresh, and only the write says so.
func TestEntryRestarts(t *testing.T) {
	const quotas = `{"limits":{
		"rpd": {"scope":"key","kind":"quota","amount":100,"per":"day"},
		"pool-rpd": {"scope":"pool","kind":"quota","amount":100,"per":"day"},
		"rpm": {"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`
	const list = "/v1/providers/p/keys"
	for _, tt := range []struct{ path, limit string }{
		{keys1, "rpd"},
		{"/v1/providers/p/pools/acme", "pool-rpd"},
	} {
		r, _ := tuned(t, map[string]string{"p": quotas})
		per := func(period string) string { return `{"limits":{"` + tt.limit + `":{"per":` + period + `}}}` }
		for i, edit := range []struct {
			method, body string
			restarts     bool
		}{
			{"PUT", per(`"hour"`), true},
			{"PUT", per(`"hour"`), false},
			{"PATCH", `{"label":"a","limits":{"` + tt.limit + `":{"amount":5}}}`, false},
			{"PATCH", per(`"week"`), true},
			{"PATCH", per("null"), true},
			{"PUT", per(`"day"`), false},
			{"PUT", per(`"month"`), true},
			{"PUT", `{}`, true},
		} {
			got, doc := r.wrote(map[bool]int{true: 201, false: 200}[i == 0], edit.method, tt.path, edit.body)
			if !edit.restarts && strings.Contains(got.text, "restarted") || edit.restarts && strings.Join(doc.Restarted, " ") != tt.limit {
				t.Errorf("%s %s: %s", edit.method, edit.body, got.text)
			}
			if read := r.get(tt.path); strings.Contains(read.text, "restarted") {
				t.Errorf("read %s", read.text)
			}
		}
	}

	r, _ := tuned(t, map[string]string{"p": quotas})
	r.wrote(201, "PUT", "/v1/providers/p/pools/acme", `{}`)
	r.permit(`{"provider":"p","key":"sk-1"}`)
	const weekly = `{"key":"sk-1","limits":{"rpd":{"per":"week"},"rpm":{"per":"1h"}}}`
	if got, _ := r.wrote(201, "POST", list, weekly); !strings.HasSuffix(got.text, `,"restarted":["rpd"]}`) {
		t.Errorf("created %s", got.text)
	}
	if got := r.get("/v1/providers/p/usage?key_id=" + sk1); strings.Count(got.text, `"used":1,`) != 2 || !strings.Contains(got.text, `"name":"rpd","scope":"key","kind":"quota","unit":"requests","model":null,"amount":100,"used":0,`) {
		t.Errorf("used after that: %s", got.text)
	}
	if got, _ := r.wrote(200, "POST", list, weekly); strings.Contains(got.text, "restarted") {
		t.Errorf("sent again: %s", got.text)
	}
	got := r.tune("POST", list, "["+strings.ReplaceAll(weekly, "sk-1", "sk-2")+`,{"key":"sk-3"},`+weekly+"]")
	var doc struct{ Items []resource }
	decode(t, got.text, &doc)
	if len(doc.Items) != 3 || strings.Join(doc.Items[0].Restarted, " ") != "rpd" || doc.Items[0].Status != 201 || strings.Count(got.text, "restarted") != 1 {
		t.Errorf("%d %s", got.status, got.text)
	}
}

// TestEntriesTakeEffect: at once, and a pool that nobody is in harms nobody.
func TestEntriesTakeEffect(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	const permit = `{"provider":"p","key":"sk-1","dry_run":true}`
	r.wrote(201, "PUT", "/v1/providers/p/pools/nobody", `{"disabled":true,"limits":{"rpd":{"amount":1}}}`)
	if got := r.permit(permit); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
	r.wrote(201, "PUT", keys1, `{"disabled":true}`)
	r.permit(permit).problem(t, 403, "key-disabled")
	r.wrote(200, "PATCH", keys1, `{"disabled":null,"pool":"acme"}`)
	if got := r.permit(permit); got.status != 200 || !strings.Contains(got.text, `"pool":"acme"`) {
		t.Errorf("%d %s", got.status, got.text)
	}
	r.wrote(201, "PUT", "/v1/providers/p/pools/acme", `{"limits":{"rpd":{"amount":7}}}`)
	if got := r.permit(permit); got.status != 200 || !strings.Contains(got.text, `"amount":7`) {
		t.Errorf("%d %s", got.status, got.text)
	}
	r.wrote(200, "PATCH", "/v1/providers/p/pools/acme", `{"disabled":true}`)
	r.permit(permit).problem(t, 403, "key-disabled")
	r.wrote(204, "DELETE", "/v1/providers/p/pools/acme", "")
	if got := r.permit(permit); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
}

// TestMisfits: an override that the policy is edited away from is named by the writes, and shown.
func TestMisfits(t *testing.T) {
	doc := `{"limits":{"l":{"scope":"key","kind":"rate","amount":1000,"per":"1m","strict_window":true,"burst":10}}}`
	s, _ := newTestServer(t, map[string]string{"openrouter": doc})
	r := serve(t, s)
	id := limiter.KeyID("k")
	if got := r.do("PUT", "/v1/providers/openrouter/keys/"+id, `{"limits":{"l":{"amount":20}}}`); got.status != 201 || strings.Contains(got.text, "misfits") {
		t.Fatalf("%d %s", got.status, got.text)
	}
	for name, got := range map[string]answer{
		"the policy's": r.do("PATCH", "/v1/providers/openrouter", `{"limits":{"l":{"burst":30}}}`, "Content-Type: application/merge-patch+json"),
		"the entry's":  r.do("PATCH", "/v1/providers/openrouter/keys/"+id, `{"disabled":true}`, "Content-Type: application/merge-patch+json"),
	} {
		if got.status != 200 || !strings.HasSuffix(strings.TrimSpace(got.text), `,"misfits":["l"]}`) {
			t.Errorf("%s write: %d %s", name, got.status, got.text)
		}
	}
	if got := r.get("/v1/providers/openrouter/usage?key_id=" + id); !strings.Contains(got.text, `"amount":20,"used":0,"remaining":2,`) || !strings.Contains(got.text, `"misfit":"strict_window needs`) {
		t.Errorf("usage %s", got.text)
	}
	r.do("PUT", "/v1/providers/openrouter/keys/"+limiter.KeyID("other"), `{"limits":{"l":{"amount":20}}}`).problem(t, 400, "invalid-request")
}
