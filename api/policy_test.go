package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// resource is what a write answers with.
type resource struct {
	Name       string
	ID         string
	Revision   int64
	Policy     json.RawMessage
	Entry      json.RawMessage
	Restarted  []string
	RotatedTo  string `json:"rotated_to"`
	DisabledAt string `json:"disabled_at"`
	Status     int
}

// wrote makes a write that must have this status, and reads its answer.
func (r *remote) wrote(status int, method, path, body string, headers ...string) (answer, resource) {
	r.t.Helper()
	got := r.tune(method, path, body, headers...)
	if got.status != status {
		r.t.Fatalf("%s %s: %d, want %d: %s", method, path, got.status, status, got.text)
	}
	var doc resource
	if status != http.StatusNoContent {
		decode(r.t, got.text, &doc)
	}
	return got, doc
}

// revision is that of a failed precondition; 0 stands for null.
func (a answer) revision(t *testing.T) int64 {
	t.Helper()
	a.problem(t, 412, "precondition-failed")
	var doc map[string]json.RawMessage
	decode(t, a.text, &doc)
	if doc["revision"] == nil {
		t.Errorf("no revision in %s", a.text)
	}
	var revision int64
	decode(t, string(doc["revision"]), &revision)
	return revision
}

func TestPolicyIsWritten(t *testing.T) {
	r, _ := tuned(t, nil)
	const path = "/v1/providers/p"
	got, _ := r.wrote(201, "PUT", path, strings.ReplaceAll(rpm, ":", " : "))
	if want := `{"name":"p","revision":1,"policy":` + rpm + `}`; got.text != want || got.header.Get("Location") != path {
		t.Errorf("created %s at %q, want %s", got.text, got.header.Get("Location"), want)
	}
	read := r.get(path)
	if read.text != got.text || read.header.Get("ETag") != got.header.Get("ETag") || read.header.Get("ETag") == "" {
		t.Errorf("GET %s %s after PUT %s %s", read.text, read.header.Get("ETag"), got.text, got.header.Get("ETag"))
	}
	got, doc := r.wrote(200, "PUT", path, `{"limits":{}}`)
	if string(doc.Policy) != `{"limits":{}}` || doc.Revision != 2 || got.header.Get("Location") != "" {
		t.Errorf("replaced: %s", got.text)
	}
	got, doc = r.wrote(200, "PATCH", path, rpm)
	if doc.Revision != 3 || !jsonEqual(t, doc.Policy, []byte(rpm)) || got.header.Get("ETag") != r.get(path).header.Get("ETag") {
		t.Errorf("patched: %s", got.text)
	}
	if got, _ := r.wrote(204, "DELETE", path, ""); got.text != "" {
		t.Errorf("deleted: %s", got.text)
	}
	r.get(path).problem(t, 404, "unknown-provider")
	r.tune("DELETE", path, "").problem(t, 404, "unknown-provider")
	r.tune("PATCH", path, `{}`).problem(t, 404, "unknown-provider")
	if got, doc = r.wrote(201, "PUT", path, rpm); doc.Revision <= 3 || got.header.Get("Location") != path {
		t.Errorf("created again: %s", got.text)
	}
}

// TestPatch: a patch changes what it names, null takes it away, and the result is checked as a whole.
func TestPatch(t *testing.T) {
	const path = "/v1/providers/p"
	r, _ := tuned(t, map[string]string{"p": `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"},"rpd":{"scope":"key","kind":"quota","amount":5,"per":"day"}}}`})
	if got, doc := r.wrote(200, "PATCH", path, `{"limits":{"rpm":{"amount":500}}}`); !strings.Contains(string(doc.Policy), `"amount":500`) || doc.Restarted != nil {
		t.Errorf("%s", got.text)
	}
	got, doc := r.wrote(200, "PATCH", path, `{"limits":{"rpm":null},"hold_ttl":"1m"}`)
	if !jsonEqual(t, doc.Policy, []byte(`{"hold_ttl":"1m","limits":{"rpd":{"scope":"key","kind":"quota","amount":5,"per":"day"}}}`)) {
		t.Errorf("%s", got.text)
	}
	if got, doc := r.wrote(200, "PATCH", path, `{"limits":{"rpd":{"per":"week"}}}`); strings.Join(doc.Restarted, " ") != "rpd" {
		t.Errorf("%s", got.text)
	}
	before := r.get(path)
	for patch, want := range map[string]string{
		`{"limits":{"rpd":{"amount":0,"per":"1m"}},"x":1}`: "/limits/rpd/amount",
		`{"limits":null}`:                    "",
		`{"limits":{"new":{"amount":5}}}`:    "/limits/new",
		`{"limits":{"rpd":{"counts":null}}`:  "",
		`[]`:                                 "",
		`null`:                               "",
		` `:                                  "",
		`{"limits":{"rpd":{"amount":1.5}}}`:  "/limits/rpd/amount",
		`{"limits":{"rpd":{"amount":"10"}}}`: "/limits/rpd/amount",
	} {
		p := r.tune("PATCH", path, patch).problem(t, 400, "invalid-request")
		if !strings.Contains(p.pointers(), want) || len(p.Errors) == 0 {
			t.Errorf("%s: %q", patch, p.Errors)
		}
	}
	if after := r.get(path); after.text != before.text || after.header.Get("ETag") != before.header.Get("ETag") {
		t.Errorf("%s became %s", before.text, after.text)
	}
}

// documents are resources that take the same conditions: a path, what is stored first, and what takes its place.
var documents = []struct{ path, first, second string }{
	{"/v1/providers/q", rpm, `{"limits":{}}`},
	{keys1, `{"label":"a"}`, `{"label":"b"}`},
	{"/v1/providers/p/pools/acme", `{"label":"a"}`, `{"disabled":true}`},
}

func TestETagRoundTrip(t *testing.T) {
	for _, doc := range documents {
		t.Run(doc.path, func(t *testing.T) {
			r, _ := tuned(t, map[string]string{"p": rpm})
			for _, method := range []string{"PUT", "PATCH", "DELETE"} {
				body := map[string]string{"PUT": doc.first, "PATCH": doc.first}[method]
				for _, match := range []string{"*", `"1-ABC"`} {
					if revision := r.tune(method, doc.path, body, "If-Match: "+match).revision(t); revision != 0 {
						t.Errorf("%s of what is not there: revision %d", method, revision)
					}
				}
			}
			r.wrote(201, "PUT", doc.path, doc.first, "If-None-Match: *")
			if revision := r.tune("PUT", doc.path, doc.second, "If-None-Match: *").revision(t); revision != 1 {
				t.Errorf("If-None-Match: *: revision %d", revision)
			}
			tag := r.get(doc.path).header.Get("ETag")
			if got := r.get(doc.path, "If-None-Match: "+tag); got.status != 304 || got.text != "" {
				t.Errorf("GET If-None-Match: %d %s", got.status, got.text)
			}
			got, _ := r.wrote(200, "PUT", doc.path, doc.second, "If-Match: "+tag)
			next := got.header.Get("ETag")
			if next == tag || next == "" {
				t.Errorf("ETag %s after %s", next, tag)
			}
			for _, method := range []string{"PUT", "PATCH", "DELETE"} {
				body := map[string]string{"PUT": doc.first, "PATCH": doc.first}[method]
				for _, stale := range []string{tag, "W/" + next, `"2-ABC"`, `"a", ` + tag} {
					if revision := r.tune(method, doc.path, body, "If-Match: "+stale).revision(t); revision != 2 {
						t.Errorf("%s If-Match: %s: revision %d", method, stale, revision)
					}
				}
			}
			if after := r.get(doc.path); after.header.Get("ETag") != next {
				t.Errorf("written all the same: %s", after.text)
			}
			got, _ = r.wrote(200, "PATCH", doc.path, doc.first, "If-Match: "+tag+", "+next)
			r.wrote(200, "PUT", doc.path, doc.first, "If-Match: *")
			r.tune("DELETE", doc.path, "", "If-Match: "+got.header.Get("ETag")).revision(t)
			r.wrote(204, "DELETE", doc.path, "", "If-Match: "+r.get(doc.path).header.Get("ETag"))
			r.wrote(201, "PUT", doc.path, doc.first)
			r.tune("PUT", doc.path, doc.second, "If-Match: "+next).revision(t)
		})
	}
}

// TestTwoOperators: of writes made at once on top of the same version one is done, and patches without a condition are
// all done.
func TestTwoOperators(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	const path, operators = "/v1/providers/p", 8
	tag := r.get(path).header.Get("ETag")
	both := func(do func(i int) answer) map[int]int {
		var mu sync.Mutex
		var done sync.WaitGroup
		statuses := map[int]int{}
		for i := range operators {
			done.Go(func() {
				got := do(i)
				mu.Lock()
				defer mu.Unlock()
				statuses[got.status]++
			})
		}
		done.Wait()
		return statuses
	}
	if got := both(func(i int) answer {
		return r.tune("PUT", path, fmt.Sprintf(`{"limits":{},"hold_ttl":"%dm"}`, i+1), "If-Match: "+tag)
	}); got[200] != 1 || got[412] != operators-1 {
		t.Errorf("PUT: %v", got)
	}
	if got := both(func(i int) answer {
		return r.tune("PATCH", path, fmt.Sprintf(`{"limits":{"l%d":{"scope":"key","kind":"quota","amount":5,"per":"day"}}}`, i))
	}); got[200] != operators {
		t.Errorf("PATCH: %v", got)
	}
	var doc struct {
		Revision int64
		Policy   struct{ Limits map[string]any }
	}
	decode(t, r.get(path).text, &doc)
	if len(doc.Policy.Limits) != operators || doc.Revision != 2+operators {
		t.Errorf("revision %d with %d limits", doc.Revision, len(doc.Policy.Limits))
	}
	if got := both(func(int) answer { return r.tune("PUT", "/v1/providers/new", rpm, "If-None-Match: *") }); got[201] != 1 || got[412] != operators-1 {
		t.Errorf("PUT of a new one: %v", got)
	}
}

// TestWritesAreLogged: who wrote what, and why; never a key.
func TestWritesAreLogged(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": rpm})
	for _, w := range []struct{ method, path, body, want string }{
		{"PUT", "/v1/providers/p?note=raise+it", rpm, `"what":"policy put","provider":"p","revision":2,"by":"","note":"raise it"`},
		{"PATCH", "/v1/providers/p", `{}`, `"what":"policy patched","provider":"p","revision":3,"by":"","note":""`},
		{"POST", "/v1/providers/p/rollback", `{"revision":1}`, `"what":"policy rolled back to revision 1","provider":"p","revision":4`},
		{"POST", "/v1/providers/p/keys?note=new", `{"key":"sk-1"}`, `"what":"key created","provider":"p","id":"` + sk1 + `","revision":1,"by":"","note":"new"`},
		{"PATCH", keys1, `{"label":"a"}`, `"what":"key patched","provider":"p","id":"` + sk1 + `","revision":2`},
		{"POST", "/v1/providers/p/reset", `{"key_id":"` + sk1 + `"}`, `"what":"usage reset","provider":"p","id":"` + sk1 + `"`},
		{"POST", keys1 + "/rotate?note=leaked", `{"key":"sk-2"}`, `"what":"key rotated from ` + sk1 + `","provider":"p","id":"k_`},
		{"PUT", "/v1/providers/p/pools/acme", `{}`, `"what":"pool put","provider":"p","id":"acme","revision":1`},
		{"DELETE", "/v1/providers/p/pools/acme?note=gone", "", `"what":"pool deleted","provider":"p","id":"acme","by":"","note":"gone"`},
		{"DELETE", "/v1/providers/p", "", `"what":"policy deleted","provider":"p","by":""`},
	} {
		if got := r.tune(w.method, w.path, w.body); got.status/100 != 2 {
			t.Errorf("%s %s: %d %s", w.method, w.path, got.status, got.text)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		var said string
		for _, line := range lines {
			if strings.Contains(line, `"level":"INFO"`) {
				said = line
			}
		}
		if !strings.Contains(said, w.want) {
			t.Errorf("%s %s: logged %s, want %s", w.method, w.path, said, w.want)
		}
	}
	if strings.Contains(log.String(), "sk-") {
		t.Errorf("a key was logged: %s", log)
	}
}
