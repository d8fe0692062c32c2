package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func TestNewKey(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": `{"unknown_keys":"deny","limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`})
	const list = "/v1/providers/p/keys"
	r.permit(`{"provider":"p","key":"sk-1"}`).problem(t, 403, "unknown-key")
	got, _ := r.wrote(201, "POST", list, `{"label":"prod","key":"sk-1","limits":{"rpm":{"amount":5}}}`)
	want := `{"id":"` + sk1 + `","revision":1,"entry":{"label":"prod","limits":{"rpm":{"amount":5}}}}`
	if got.text != want || got.header.Get("Location") != keys1 || got.header.Get("ETag") == "" {
		t.Errorf("created %s at %q, want %s", got.text, got.header.Get("Location"), want)
	}
	if read := r.get(keys1); read.text != want || read.header.Get("ETag") != got.header.Get("ETag") {
		t.Errorf("read %s", read.text)
	}
	if got := r.permit(`{"provider":"p","key":"sk-1"}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
	again, _ := r.wrote(200, "POST", list, `{"limits":{"rpm":{"amount":5}},"label":"\u0070rod","key":"sk-1"}`)
	if again.text != want || again.header.Get("Location") != "" || again.header.Get("ETag") != got.header.Get("ETag") {
		t.Errorf("sent again: %s", again.text)
	}
	other := r.tune("POST", list, `{"key":"sk-1","label":"other"}`)
	if revision := other.revision(t); revision != 1 {
		t.Errorf("revision %d", revision)
	}
	if p := other.problem(t, 412, "precondition-failed"); !strings.Contains(p.Detail, "has another entry") {
		t.Errorf("%s", p.Detail)
	}
	r.wrote(204, "DELETE", keys1, "")
	if _, doc := r.wrote(201, "POST", list, `{"key":"sk-1"}`); string(doc.Entry) != "{}" {
		t.Errorf("created again: %+v", doc)
	}
	if strings.Contains(log.String(), "sk-1") {
		t.Error("the key was logged")
	}
}

func TestNewKeys(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": scopes})
	const list = "/v1/providers/p/keys"
	r.wrote(201, "POST", list, `{"key":"sk-same","label":"a"}`)
	r.wrote(201, "POST", list, `{"key":"sk-other","label":"a"}`)
	body := `[{"key":"sk-1","pool":"acme"},{"key":"sk-same","label":"a"},{"key":"sk-other","label":"b"},{"key":"sk-1","pool":"acme"},{"key":"sk-1"},{"key":"sk-2"}]`
	got := r.tune("POST", list, body)
	var doc struct {
		Items []struct {
			resource
			Type string
		}
	}
	decode(t, got.text, &doc)
	want := []struct {
		status   int
		key      string
		revision int64
	}{{201, "sk-1", 1}, {200, "sk-same", 1}, {412, "", 1}, {200, "sk-1", 1}, {412, "", 1}, {201, "sk-2", 1}}
	if got.status != 200 || len(doc.Items) != len(want) {
		t.Fatalf("%d %s", got.status, got.text)
	}
	for i, item := range doc.Items {
		w := want[i]
		if item.Status != w.status || item.Revision != w.revision || w.key != "" && item.ID != limiter.KeyID(w.key) ||
			(w.status == 412) != strings.HasSuffix(item.Type, ":precondition-failed") {
			t.Errorf("%d: %+v, want %+v", i, item, w)
		}
	}
	p := r.tune("POST", list, `[{"key":"sk-3"},{"key":"sk-4","pool":"A"},{"label":"a"}]`).problem(t, 400, "invalid-request")
	if p.pointers() != "/2/key /1/pool" {
		t.Errorf("%q", p.Errors)
	}
	r.get(list+"/"+limiter.KeyID("sk-3")).problem(t, 404, "not-found")
	if strings.Contains(log.String()+got.text, "sk-") {
		t.Error("a key was shown or logged")
	}
}

func TestManyNewKeys(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	var keys []string
	for i := range maxNewKeys {
		keys = append(keys, fmt.Sprintf(`{"key":"sk-%d","label":"%s"}`, i, strings.Repeat("l", 128)))
	}
	got := r.tune("POST", "/v1/providers/p/keys", "["+strings.Join(keys, ",")+"]")
	if n := strings.Count(got.text, `,"status":201}`); got.status != 200 || n != maxNewKeys {
		t.Errorf("%d, %d created: %.300s", got.status, n, got.text)
	}
	if got := r.get("/v1/providers/p/keys"); strings.Count(got.text, `"id":`) != maxNewKeys || !strings.HasSuffix(got.text, `"next_cursor":null}`) {
		t.Errorf("%d listed, ending in %s", strings.Count(got.text, `"id":`), got.text[len(got.text)-100:])
	}
}
