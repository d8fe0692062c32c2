package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func (r *remote) get(path string, headers ...string) answer {
	r.t.Helper()
	return r.do(http.MethodGet, path, "", headers...)
}

func TestProvider(t *testing.T) {
	doc := `{"unknown_keys":"allow","limits":{"rpm":{"kind":"rate","scope":"key","amount":60,"per":"1m"}}}`
	s, _ := newTestServer(t, map[string]string{"openrouter": doc})
	r := serve(t, s)
	got := r.get("/v1/providers/openrouter")
	if want := `{"name":"openrouter","revision":1,"policy":` + doc + `}`; got.status != 200 || got.text != want {
		t.Errorf("%d %s, want %s", got.status, got.text, want)
	}
	tag := got.header.Get("ETag")
	if !strings.HasPrefix(tag, `"1-`) || !strings.HasSuffix(tag, `"`) || len(tag) < 20 {
		t.Errorf("ETag %s", tag)
	}
	for match, want := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304,
		`"1-other"`: 200, strings.Trim(tag, `"`): 200,
	} {
		got := r.get("/v1/providers/openrouter", "If-None-Match: "+match)
		if got.status != want || got.header.Get("ETag") != tag || (want == 304) != (got.text == "") {
			t.Errorf("If-None-Match: %s: %d %q", match, got.status, got.text)
		}
	}
	if got := r.get("/v1/providers/open%72outer"); got.status != 200 {
		t.Errorf("escaped name: %d", got.status)
	}
	if got := r.do(http.MethodHead, "/v1/providers/openrouter", ""); got.status != 200 || got.header.Get("ETag") != tag {
		t.Errorf("HEAD: %d", got.status)
	}
	for _, name := range []string{"nobody", "No%20Name", "%zz", "a%2Fb"} {
		req, _ := http.NewRequest("GET", r.url, nil)
		req.URL.Opaque = "/v1/providers/" + name // as it is, valid or not
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := map[bool]int{true: 400, false: 404}[name == "%zz"]; resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, want)
		}
	}
	r.get("/v1/providers/nobody").problem(t, 404, "unknown-provider")
	if p := r.get("/v1/providers/openrouter?verbose=1").problem(t, 400, "invalid-request"); p.pointers() != "/verbose" {
		t.Errorf("%q", p.Errors)
	}
}

func TestProviders(t *testing.T) {
	doc := `{"limits":{}}`
	s, _ := newTestServer(t, map[string]string{"b": doc, "a": doc, "c": doc})
	r := serve(t, s)
	after := func(name string) string { return newCursor("providers", name) }
	item := func(name string) string { return `{"name":"` + name + `","revision":1,"policy":{"limits":{}}}` }
	for path, want := range map[string]string{
		"":                                  `{"items":[` + item("a") + `,` + item("b") + `,` + item("c") + `],"next_cursor":null}`,
		"?page_size=3":                      `{"items":[` + item("a") + `,` + item("b") + `,` + item("c") + `],"next_cursor":null}`,
		"?page_size=2":                      `{"items":[` + item("a") + `,` + item("b") + `],"next_cursor":"` + after("b") + `"}`,
		"?page_size=2&cursor=" + after("b"): `{"items":[` + item("c") + `],"next_cursor":null}`,
		"?cursor=" + after("bb"):            `{"items":[` + item("c") + `],"next_cursor":null}`,
		"?cursor=" + after("c"):             `{"items":[],"next_cursor":null}`,
	} {
		if got := r.get("/v1/providers" + path); got.status != 200 || got.text != want {
			t.Errorf("%s: %d %s, want %s", path, got.status, got.text, want)
		}
	}
	for path, want := range map[string]string{
		"?page_size=0": "/page_size", "?page_size=1001": "/page_size", "?page_size=x": "/page_size", "?cursor=A%20B": "/cursor", "?cursor=b": "/cursor",
		"?cursor=" + after("") + "&page_size=x": "/cursor /page_size", "?cursor=" + newCursor("pools", "b"): "/cursor", "?cursor=" + after("B"): "/cursor",
		"?page=2": "/page", "?page_size=1&page_size=2": "/page_size", "?cursor=%zz": "",
	} {
		if p := r.get("/v1/providers"+path).problem(t, 400, "invalid-request"); p.pointers() != want {
			t.Errorf("%s: %q", path, p.Errors)
		}
	}
}

func TestNoProviders(t *testing.T) {
	s, _ := newTestServer(t, nil)
	if got := serve(t, s).get("/v1/providers"); got.text != `{"items":[],"next_cursor":null}` {
		t.Errorf("%s", got.text)
	}
}

func TestUsage(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": `{"limits":{
		"model-rpm": {"scope":"key","kind":"rate","amount":60,"per":"1m","per_model":true},
		"rpd":       {"scope":"pool","kind":"quota","amount":10,"per":"day"},
		"watch":     {"scope":"provider","kind":"rate","amount":1,"per":"1m","mode":"shadow"}}}`})
	r := serve(t, s)
	r.permit(`{"provider":"openrouter","key":"sk-1","model":"a/b:free"}`)
	id := limiter.KeyID("sk-1")
	const (
		watch  = `{"name":"watch","scope":"provider","kind":"rate","unit":"requests","model":null,"amount":1,"used":1,"remaining":0,"reset_ms":60000,"mode":"shadow","would_deny":true}`
		rpd    = `{"name":"rpd","scope":"pool","kind":"quota","unit":"requests","model":null,"amount":10,"used":1,"remaining":9,"reset_ms":43200000,"mode":"enforce","would_deny":false}`
		model  = `{"name":"model-rpm","scope":"key","kind":"rate","unit":"requests","model":"a/b:free","amount":60,"used":1,"remaining":59,"reset_ms":1000,"mode":"enforce","would_deny":false}`
		unused = `{"name":"rpd","scope":"pool","kind":"quota","unit":"requests","model":null,"amount":10,"used":0,"remaining":10,"reset_ms":0,"mode":"enforce","would_deny":false}`
	)
	for query, want := range map[string]string{
		"":               `{"provider":"openrouter","key_id":null,"pool":null,"revision":1,"limits":[` + watch + `]}`,
		"?key_id=&pool=": `{"provider":"openrouter","key_id":null,"pool":null,"revision":1,"limits":[` + watch + `]}`,
		"?key_id=" + id:  `{"provider":"openrouter","key_id":"` + id + `","pool":null,"revision":1,"limits":[` + rpd + `,` + watch + `]}`,
		"?pool=acme":     `{"provider":"openrouter","key_id":null,"pool":"acme","revision":1,"limits":[` + unused + `,` + watch + `]}`,
		"?key_id=" + id + "&model=" + url.QueryEscape("a/b:free"): `{"provider":"openrouter","key_id":"` + id + `","pool":null,"revision":1,"limits":[` + model + `,` + rpd + `,` + watch + `]}`,
	} {
		for range 2 { // looking charges nothing
			if got := r.get("/v1/providers/openrouter/usage" + query); got.status != 200 || got.text != want {
				t.Errorf("%s: %d\n got %s\nwant %s", query, got.status, got.text, want)
			}
		}
	}
	for query, want := range map[string]string{
		"?key_id=sk-1": "/key_id", "?pool=A%20B": "/pool", "?model=%00": "/model", "?key=sk-1": "/key",
		"?pool=a&pool=b": "/pool", "?key_id=" + id + "&pool=acme": "/pool", "?b=1&a=1": "/a /b",
	} {
		got := r.get("/v1/providers/openrouter/usage" + query)
		if p := got.problem(t, 400, "invalid-request"); p.pointers() != want {
			t.Errorf("%s: %q", query, p.Errors)
		}
		if strings.Contains(got.text, "sk-1") {
			t.Errorf("%s: the answer repeats what may be a key", query)
		}
	}
	r.get("/v1/providers/nobody/usage").problem(t, 404, "unknown-provider")
	r.get("/v1/providers/No%20Name/usage").problem(t, 404, "unknown-provider")
}

// TestDocumentsOfAnotherVersion: what this version can't read is 503 with the cause, and listed as it is.
func TestDocumentsOfAnotherVersion(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers, "openai": tiers})
	r := serve(t, s)
	later := func(id limiter.DocID, body string) {
		t.Helper()
		d, err := store.Load(t.Context(), id)
		if err == nil {
			was := d.Tag
			d.Revision, d.Tag, d.Body = d.Revision+1, was+"x", []byte(body)
			_, err = store.Swap(t.Context(), id, was, d)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.do("PUT", "/v1/providers/openrouter/pools/acme", `{}`)
	later(limiter.DocID{Provider: "openrouter", Kind: limiter.PoolEntry, Name: "acme"}, `{"colour":"red"}`)
	r.get("/v1/providers/openrouter/pools/acme").problem(t, 503, "store-unavailable")
	if got := r.get("/v1/providers/openrouter/pools"); got.status != 200 || !strings.Contains(got.text, `"entry":{"colour":"red"},"unreadable":"`) {
		t.Errorf("pools: %d %s", got.status, got.text)
	}
	later(limiter.DocID{Provider: "openrouter"}, `{"limits":{"q":{"scope":"key","kind":"quota","amount":1,"per":"day","timezone":"Mars/Base"}}}`)
	for name, got := range map[string]answer{
		"a permit": r.permit(ask), "the policy": r.get("/v1/providers/openrouter"), "usage": r.get("/v1/providers/openrouter/usage"),
		"an entry": r.do("PUT", "/v1/providers/openrouter/pools/other", `{}`),
	} {
		p := got.problem(t, 503, "store-unavailable")
		if !strings.Contains(p.Detail, "the policy of openrouter, revision 2") || !strings.Contains(p.Detail, `/limits/q/timezone: unknown time zone "Mars/Base"`) ||
			got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %s", name, got.text)
		}
	}
	got := r.get("/v1/providers")
	if got.status != 200 || !strings.Contains(got.text, `{"name":"openai","revision":1,`) || !strings.Contains(got.text, `Mars/Base"}}},"unreadable":"`) {
		t.Errorf("providers: %d %s", got.status, got.text)
	}
	if got := r.do("PUT", "/v1/providers/openrouter", tiers); got.status != 200 {
		t.Errorf("mending it: %d %s", got.status, got.text)
	}
}
