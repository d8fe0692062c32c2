package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// logBuffer keeps a log that many goroutines write.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// tuned is a server with policies, and all that it logs.
func tuned(t *testing.T, policies map[string]string) (*remote, *logBuffer) {
	t.Helper()
	c := limiter.New(memstore.New(memstore.Options{Clock: func() limiter.Instant { return noon }}))
	for provider, doc := range policies {
		seed(t, c, limiter.ProviderDocs{Provider: provider, Policy: parsePolicy(t, doc)})
	}
	log := &logBuffer{}
	return serve(t, New(c, Options{Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})), log
}

// tune sends a write, a PATCH as a merge patch.
func (r *remote) tune(method, path, body string, headers ...string) answer {
	r.t.Helper()
	if method == http.MethodPatch {
		headers = append([]string{"Content-Type: " + mergePatchType}, headers...)
	}
	return r.do(method, path, body, headers...)
}

// rpm is a policy with one limit.
const rpm = `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`

var (
	sk1   = limiter.KeyID("sk-1")
	keys1 = "/v1/providers/p/keys/" + sk1
)

// writes are all that can be written, with a body that is fine.
var writes = []struct{ method, path, body string }{
	{"PUT", "/v1/providers/p", rpm},
	{"PATCH", "/v1/providers/p", `{"limits":{"rpm":{"amount":61}}}`},
	{"DELETE", "/v1/providers/p", ""},
	{"POST", "/v1/providers/p/rollback", `{"revision":1}`},
	{"POST", "/v1/providers/p/reset", `{"all_keys":true}`},
	{"POST", "/v1/providers/p/keys", `{"key":"sk-1"}`},
	{"PUT", keys1, `{"label":"a"}`},
	{"PATCH", keys1, `{"label":"a"}`},
	{"DELETE", keys1, ""},
	{"POST", keys1 + "/rotate", `{"key":"sk-2"}`},
	{"PUT", "/v1/providers/p/pools/acme", `{"label":"a"}`},
	{"PATCH", "/v1/providers/p/pools/acme", `{"label":"a"}`},
	{"DELETE", "/v1/providers/p/pools/acme", ""},
}

// TestWritesRefused: what is wrong with the request itself is found before anything is done.
func TestWritesRefused(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	before := r.get("/v1/providers/p").text
	for _, w := range writes {
		t.Run(w.method+" "+w.path, func(t *testing.T) {
			for query, want := range map[string]string{
				"?note=" + strings.Repeat("n", 201): "/note", "?note=%0A": "/note", "?note=a&note=b": "/note", "?notes=a": "/notes",
				"?force=1&note=%00": "/force", "?note=%zz": "",
			} {
				if p := r.tune(w.method, w.path+query, w.body).problem(t, 400, "invalid-request"); p.pointers() != want {
					t.Errorf("%.20s: %q", query, p.Errors)
				}
			}
			for _, header := range []string{"If-Match: 1", "If-None-Match: \"1-A\""} {
				if p := r.tune(w.method, w.path, w.body, header).problem(t, 400, "invalid-request"); len(p.Errors) == 0 {
					t.Errorf("%s: %q", header, p.Errors)
				}
			}
			if w.body != "" {
				r.tune(w.method, w.path, w.body, "Content-Type: text/plain").problem(t, 415, "unsupported-media-type")
				r.tune(w.method, w.path, w.body, "Content-Type: ").problem(t, 415, "unsupported-media-type")
				r.tune(w.method, w.path, w.body, "Content-Encoding: gzip").problem(t, 415, "unsupported-media-type")
			}
			most := maxBody
			if strings.HasSuffix(w.path, "/p") && w.method != "DELETE" || strings.HasSuffix(w.path, "/keys") {
				most = maxPolicyBody
			}
			r.tune(w.method, w.path, w.body+strings.Repeat(" ", most+1)).problem(t, 413, "body-too-large")
		})
	}
	if after := r.get("/v1/providers/p").text; after != before {
		t.Errorf("the policy was %s and is %s", before, after)
	}
}

// TestPatchMediaType: a merge patch says that it is one.
func TestPatchMediaType(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	for _, path := range []string{"/v1/providers/p", keys1, "/v1/providers/p/pools/acme"} {
		got := r.do("PATCH", path, `{}`)
		if p := got.problem(t, 415, "unsupported-media-type"); !strings.Contains(p.Detail, "application/merge-patch+json") {
			t.Errorf("%s: %s", path, p.Detail)
		}
		if got.header.Get("Accept-Patch") != "application/merge-patch+json" {
			t.Errorf("%s: Accept-Patch %q", path, got.header.Get("Accept-Patch"))
		}
		r.tune("PATCH", path, `{}`, "Content-Type: application/merge-patch+json; charset=latin1").problem(t, 415, "unsupported-media-type")
		r.do("PUT", path, `{}`, "Content-Type: application/merge-patch+json").problem(t, 415, "unsupported-media-type")
	}
}

// TestKeysInPaths: an API key in a path is refused, and neither repeated nor logged.
func TestKeysInPaths(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": rpm})
	for name, status := range map[string]int{
		"sk-secret-1":                   400,
		"sk-secret%2Fwith%2Fslashes":    400,
		"sk%2Dsecret":                   400,
		"sk-secret%20x":                 400,
		"K_" + strings.Repeat("5ec", 8): 400,
		strings.ToUpper(sk1):            400,
		sk1 + "0":                       400,
		sk1[:33]:                        400,
		"sk-secret/with/slashes":        404,
		"sk/secret":                     404,
		"sk-secret/":                    404,
		"/sk-secret":                    404,
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE"} {
			got := r.tune(method, "/v1/providers/p/keys/"+name, `{}`)
			if got.status != status {
				t.Errorf("%s %s: %d, want %d", method, name, got.status, status)
			}
			if strings.Contains(got.text, "secret") || strings.Contains(got.text, sk1) || strings.Contains(strings.ToLower(got.text), "5ec5ec") {
				t.Errorf("%s %s: repeated in %s", method, name, got.text)
			}
		}
		if status == 400 {
			p := r.get("/v1/providers/p/keys/"+name).problem(t, 400, "invalid-request")
			if len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Detail, "permitd key-id") {
				t.Errorf("%s: %q", name, p.Errors)
			}
			r.tune("POST", "/v1/providers/p/keys/"+name+"/rotate", `{"key":"sk-secret"}`).problem(t, 400, "invalid-request")
		}
	}
	r.get("/v1/providers/p/keys/sk-secret?x").problem(t, 400, "invalid-request")
	r.tune("POST", "/v1/providers/p/keys/sk-secret", `{}`).problem(t, 405, "method-not-allowed")
	text := log.String()
	for _, secret := range []string{"secret", "5ec5ec", sk1[:33]} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			t.Errorf("logged %q: %s", secret, text)
		}
	}
	if !strings.Contains(text, `"route":"/v1/providers/:provider/keys/:key_id"`) {
		t.Error("the access log is not there")
	}
}

func TestNamesInPaths(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	for _, name := range []string{"A", "-a", "a%20b", "a%2Fb", strings.Repeat("a", 65)} {
		r.tune("PUT", "/v1/providers/"+name, rpm).problem(t, 400, "invalid-request")
		r.tune("PATCH", "/v1/providers/"+name, `{}`).problem(t, 404, "unknown-provider")
		r.tune("DELETE", "/v1/providers/"+name, "").problem(t, 404, "unknown-provider")
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
			r.tune(method, "/v1/providers/p/pools/"+name, `{}`).problem(t, 400, "invalid-request")
			r.tune(method, "/v1/providers/"+name+"/pools/a", `{}`).problem(t, 404, "unknown-provider")
		}
	}
	for _, path := range []string{"/v1/providers", "/v1/providers/p", "/v1/providers/p/pools", "/v1/providers/p/pools/a", "/v1/instances", "/v1/providers/p/history"} {
		r.tune("POST", path, `{}`).problem(t, 405, "method-not-allowed")
	}
}

// TestReadsRefused: garbage in queries.
func TestReadsRefused(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	for _, list := range []string{"keys", "pools", "history"} {
		for query, want := range map[string]string{
			"?cursor=garbage": "/cursor", "?cursor=%00": "/cursor", "?cursor=" + newCursor("providers", "p"): "/cursor",
			"?cursor=" + newCursor(list, "A B"): "/cursor", "?page_size=0": "/page_size", "?page_size=1001": "/page_size",
			"?page_size=ten&cursor=x": "/cursor /page_size", "?limit=5": "/limit", "?cursor=a&cursor=b": "/cursor",
		} {
			if p := r.get("/v1/providers/p/"+list+query).problem(t, 400, "invalid-request"); p.pointers() != want {
				t.Errorf("%s%s: %q", list, query, p.Errors)
			}
		}
	}
	for _, path := range []string{keys1, "/v1/providers/p/pools/acme", "/v1/instances"} {
		if p := r.get(path+"?page_size=5").problem(t, 400, "invalid-request"); p.pointers() != "/page_size" {
			t.Errorf("%s: %q", path, p.Errors)
		}
	}
	r.tune("POST", "/v1/providers/p/preview?note=x", `{"permits":[]}`).problem(t, 400, "invalid-request")
	r.tune("POST", "/v1/providers/p/preview", strings.Repeat(" ", maxPolicyBody+1)).problem(t, 413, "body-too-large")
}

// TestDocumentsRefused: every fault of a document is named at once, and nothing is written.
func TestDocumentsRefused(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": rpm})
	for _, tt := range []struct{ method, path, body, want string }{
		{"PUT", "/v1/providers/new", ` `, ""},
		{"PUT", "/v1/providers/new", `[]`, ""},
		{"PUT", "/v1/providers/new", `{}`, ""},
		{"PUT", "/v1/providers/new", `{"limits":{},"limits":{}}`, "/limits"},
		{"PUT", "/v1/providers/new", `{"name":"new","revision":1,"policy":` + rpm + `}`, " /name /revision /policy"},
		{"PUT", "/v1/providers/new", `{"limits":{"rpm":{"scope":"town","kind":"rate","amount":0,"per":"1y"},"Rpd":5},"hold_ttl":5}`,
			"/hold_ttl /limits/rpm/scope /limits/rpm/amount /limits/rpm/per /limits/Rpd /limits/Rpd"},
		{"POST", "/v1/providers/p/keys", `{"key":"sk-1","pool":"A B","limits":{"tpm":{"amount":5},"rpm":{"amount":0}}}`,
			"/pool /limits/rpm/amount /limits/tpm"},
		{"POST", "/v1/providers/p/keys", `[{"key":"sk-1"},{"key":"","label":5},{"key":"sk-2","limits":{"tpm":{"amount":5}}},{"key":7}]`,
			"/1/key /3/key /1/label /2/limits/tpm"},
	} {
		p := r.tune(tt.method, tt.path, tt.body).problem(t, 400, "invalid-request")
		if p.pointers() != tt.want {
			t.Errorf("%s %s %s: %q", tt.method, tt.path, tt.body, p.Errors)
		}
	}
	r.get("/v1/providers/new").problem(t, 404, "unknown-provider")
	r.tune("POST", "/v1/providers/nobody/keys", `{"key":"sk-1"}`).problem(t, 404, "unknown-provider")
	if strings.Contains(log.String(), `"level":"INFO"`) {
		t.Errorf("a write was logged: %s", log)
	}
}
