package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type historyPage struct {
	Items []struct {
		Revision int64
		At       string
		By, Note *string
		Patch    json.RawMessage
	}
	Next *string `json:"next_cursor"`
}

func (r *remote) history(query string) (page historyPage) {
	r.t.Helper()
	got := r.get("/v1/providers/p/history" + query)
	if got.status != 200 {
		r.t.Fatalf("%s: %d %s", query, got.status, got.text)
	}
	decode(r.t, got.text, &page)
	return page
}

func TestHistory(t *testing.T) {
	r, _ := tuned(t, nil)
	const path = "/v1/providers/p"
	r.wrote(201, "PUT", path+"?note=first", rpm)
	r.wrote(200, "PATCH", path+"?note=more+%C3%A9", `{"limits":{"rpm":{"amount":90}}}`)
	r.wrote(200, "PATCH", path, `{"limits":{"rpm":null},"hold_ttl":"1m"}`)
	page := r.history("")
	if len(page.Items) != 3 || page.Next != nil {
		t.Fatalf("%+v", page)
	}
	for i, want := range []string{`{"hold_ttl":"1m","limits":{"rpm":null}}`, `{"limits":{"rpm":{"amount":90}}}`, rpm} {
		item := page.Items[i]
		if item.Revision != int64(3-i) || item.At != "2026-11-23T12:00:00Z" || !jsonEqual(t, item.Patch, []byte(want)) || item.By != nil {
			t.Errorf("%d: %+v %s", i, item, item.Patch)
		}
	}
	if note := page.Items[1].Note; note == nil || *note != "more é" {
		t.Errorf("note %v", note)
	}
	if note := page.Items[0].Note; note != nil {
		t.Errorf("note %v", *note)
	}

	var revisions []int64
	for page = r.history("?page_size=1"); ; page = r.history("?page_size=1&cursor=" + *page.Next) {
		for _, item := range page.Items {
			revisions = append(revisions, item.Revision)
		}
		if page.Next == nil || len(revisions) > 3 {
			break
		}
	}
	if fmt.Sprint(revisions) != "[3 2 1]" {
		t.Errorf("pages of %v", revisions)
	}
	r.get("/v1/providers/nobody/history").problem(t, 404, "unknown-provider")
}

func TestRollback(t *testing.T) {
	r, _ := tuned(t, nil)
	const path = "/v1/providers/p"
	first, _ := r.wrote(201, "PUT", path, rpm)
	second, _ := r.wrote(200, "PATCH", path, `{"limits":{"rpm":{"kind":"quota","per":"day"}}}`)
	got, doc := r.wrote(200, "POST", path+"/rollback?note=back", `{"revision":1}`)
	if doc.Revision != 3 || string(doc.Policy) != rpm || strings.Join(doc.Restarted, " ") != "rpm" || got.header.Get("Location") != "" {
		t.Errorf("%s", got.text)
	}
	tag := got.header.Get("ETag")
	if read := r.get(path); read.header.Get("ETag") != tag || tag == first.header.Get("ETag") {
		t.Errorf("ETag %s, then %s", tag, read.header.Get("ETag"))
	}
	if note := r.history("?page_size=1").Items[0].Note; note == nil || *note != "back" {
		t.Errorf("note %v", note)
	}
	if revision := r.tune("POST", path+"/rollback", `{"revision":2}`, "If-Match: "+second.header.Get("ETag")).revision(t); revision != 3 {
		t.Errorf("revision %d", revision)
	}
	r.wrote(200, "POST", path+"/rollback", `{"revision":2}`, "If-Match: "+tag)
	for _, revision := range []string{"5", "9223372036854775807"} {
		p := r.tune("POST", path+"/rollback", `{"revision":`+revision+`}`).problem(t, 404, "not-found")
		if want := "revision " + revision + " is not kept, those from 1 to 4 are"; !strings.HasPrefix(p.Detail, want) {
			t.Errorf("%s, want %s", p.Detail, want)
		}
	}
	r.tune("POST", "/v1/providers/nobody/rollback", `{"revision":1}`).problem(t, 404, "unknown-provider")
	r.wrote(204, "DELETE", path, "")
	r.tune("POST", path+"/rollback", `{"revision":1}`).problem(t, 404, "unknown-provider")
	r.wrote(201, "PUT", path, `{"limits":{}}`)
	p := r.tune("POST", path+"/rollback", `{"revision":5}`).problem(t, 404, "not-found")
	if want := "at revision 5 the provider was deleted"; !strings.HasPrefix(p.Detail, want) {
		t.Errorf("%s, want %s", p.Detail, want)
	}
	if _, doc := r.wrote(200, "POST", path+"/rollback", `{"revision":1}`); string(doc.Policy) != rpm || doc.Revision != 7 {
		t.Errorf("back before the deletion: %+v", doc)
	}
}

// TestHistoryIsKept: a thousand revisions are, and what is no longer kept can't be gone back to.
func TestHistoryIsKept(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	const path, writes = "/v1/providers/p", 1200
	for i := range writes {
		r.wrote(200, "PATCH", path, fmt.Sprintf(`{"limits":{"rpm":{"amount":%d}}}`, 100+i))
	}
	kept, oldest, page := 0, int64(0), r.history("")
	for {
		kept += len(page.Items)
		oldest = page.Items[len(page.Items)-1].Revision
		if page.Next == nil {
			break
		}
		page = r.history("?cursor=" + *page.Next)
	}
	if kept < 1000 || oldest < 2 {
		t.Fatalf("%d are kept, the oldest is %d", kept, oldest)
	}
	p := r.tune("POST", path+"/rollback", fmt.Sprintf(`{"revision":%d}`, oldest-1)).problem(t, 404, "not-found")
	if want := fmt.Sprintf("those from %d to %d are", oldest, writes+1); !strings.Contains(p.Detail, want) {
		t.Errorf("%s, want %s", p.Detail, want)
	}
	if _, doc := r.wrote(200, "POST", path+"/rollback", fmt.Sprintf(`{"revision":%d}`, oldest)); !strings.Contains(string(doc.Policy), fmt.Sprintf(`"amount":%d,`, 100+oldest-2)) {
		t.Errorf("back at %d: %s", oldest, doc.Policy)
	}
}
