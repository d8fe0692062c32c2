package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"
)

// TestDocs: the page and all that it names come from permitd, and may load nothing from elsewhere.
func TestDocs(t *testing.T) {
	r := serveTiers(t)
	page := r.get("/docs")
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", page.status, page.header.Get("Content-Type"))
	}
	named := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.text, -1)
	if len(named) < 5 {
		t.Errorf("the page names %d files", len(named))
	}
	for _, m := range named {
		got := r.get("/"+m[1], "Accept-Encoding: identity")
		if got.status != 200 || len(got.text) < 100 || got.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d, %d bytes, %q", m[1], got.status, len(got.text), got.header.Get("Content-Encoding"))
		}
	}
	for path, want := range map[string]string{
		"/docs/docs.js": "text/javascript; charset=utf-8", "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"/docs/docs.css": "text/css; charset=utf-8", "/docs/swagger-ui.css": "text/css; charset=utf-8", "/docs/favicon-32x32.png": "image/png",
	} {
		got := r.get(path)
		csp := got.header.Get("Content-Security-Policy")
		if got.header.Get("Content-Type") != want || csp != page.header.Get("Content-Security-Policy") {
			t.Errorf("%s: %v", path, got.header)
		}
	}
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
	for _, path := range []string{"/docs/", "/docs/index.html", "/docs/swagger-ui.js.gz", "/docs/..%2fserver.go", "/docs/embed.go"} {
		r.get(path).problem(t, 404, "not-found")
	}
	r.get("/docs", "Host: evil.example").problem(t, 403, "forbidden")
	r.get("/docs/docs.js", "Origin: http://evil.example").problem(t, 403, "forbidden")
}

// TestDocsArePacked: clients that can unpack get the file as it is in the binary.
func TestDocsArePacked(t *testing.T) {
	r := serveTiers(t)
	plain := r.get("/docs/swagger-ui.css", "Accept-Encoding: identity")
	packed := r.get("/docs/swagger-ui.css", "Accept-Encoding: gzip, br")
	if packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("%v", packed.header)
	}
	unpack, err := gzip.NewReader(strings.NewReader(packed.text))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpack)
	if err != nil || !bytes.Equal(text, []byte(plain.text)) || len(packed.text) > len(plain.text)/2 {
		t.Errorf("%d bytes, %d packed, %v", len(plain.text), len(packed.text), err)
	}
}

// TestDocsWithTokens: the page is open to all and tells nothing; the document that it shows needs a token.
func TestDocsWithTokens(t *testing.T) {
	open, locked := serveTiers(t), serve(t, newTokenServer(t, Options{}))
	want := open.get("/docs")
	for _, headers := range [][]string{nil, {"Accept: text/html"}, {with("unknown-token-0123456789")}, {with(permitsToken)}, {with(viewerToken)}} {
		if got := locked.get("/docs", headers...); got.status != 200 || got.text != want.text {
			t.Errorf("%v: %d %s", headers, got.status, got.text)
		}
	}
	for _, secret := range []string{"/v1/", "openrouter", "rpm", "(devel)"} {
		if strings.Contains(want.text, secret) {
			t.Errorf("the page says %s", secret)
		}
	}
	for header, status := range map[string]int{"Accept: text/html": 401, with(permitsToken): 403, with(viewerToken): 200, with(operatorToken): 200} {
		if got := locked.get("/openapi.json", header); got.status != status {
			t.Errorf("the document with %q: %d", header, got.status)
		}
	}
}
