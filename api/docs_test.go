package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
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
		if got.header.Get("Content-Type") != want || got.header.Get("X-Content-Type-Options") != "nosniff" || csp != page.header.Get("Content-Security-Policy") {
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

// TestDocsAskForAToken: a browser that opens the page without a token gets it with the 401, and a program gets a problem.
func TestDocsAskForAToken(t *testing.T) {
	s, _ := newTestServer(t, nil)
	unauthorized := &problem{status: http.StatusUnauthorized, name: "unauthorized", title: "Unauthorized", detail: "send a token"}
	s.echo.Use(func(echo.HandlerFunc) echo.HandlerFunc {
		return func(echo.Context) error { return unauthorized }
	})
	for _, tt := range []struct{ path, accept, contentType string }{
		{"/docs", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"},
		{"/docs", "*/*", "application/problem+json"},
		{"/docs", "", "application/problem+json"},
		{"/openapi.json", "text/html", "application/problem+json"},
	} {
		req := httptest.NewRequest(http.MethodGet, tt.path, nil)
		req.Host = "localhost"
		req.Header.Set("Accept", tt.accept)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if w.Code != 401 || w.Header().Get("Content-Type") != tt.contentType {
			t.Errorf("%s for %q: %d %s", tt.path, tt.accept, w.Code, w.Header().Get("Content-Type"))
		}
		if page := strings.Contains(w.Body.String(), "sign-in"); page != strings.HasPrefix(tt.contentType, "text/html") {
			t.Errorf("%s for %q: %s", tt.path, tt.accept, w.Body)
		}
	}
}
