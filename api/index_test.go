package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestIndex: it is open to all, in JSON and as a page, and names what there is on its surface and nothing else.
func TestIndex(t *testing.T) {
	for surface, docs := range map[Surface]bool{Everything: true, PermitsOnly: false, AllButPermits: true} {
		s := newTokenServer(t, Options{Surface: surface})
		r := serve(t, s)
		got := r.get("/")
		var paths map[string]string
		if json.Unmarshal([]byte(got.text), &paths) != nil || got.status != 200 || got.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %s", got.status, got.text)
		}
		if paths["name"] != "permitd" || (paths["docs"] == "/docs") != docs {
			t.Errorf("surface %d: %s", surface, got.text)
		}
		delete(paths, "name")
		page := r.get("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
		if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" || page.header.Get("Vary") != "Accept" {
			t.Errorf("%d %v", page.status, page.header)
		}
		for _, path := range paths {
			if !strings.Contains(page.text, `<a href="`+path[1:]+`">`) {
				t.Errorf("the page does not name %s: %s", path, page.text)
			}
			_, get := s.needs[route{http.MethodGet, path}]
			if _, post := s.needs[route{http.MethodPost, path}]; !get && !post {
				t.Errorf("surface %d names %s, which it has not", surface, path)
			}
		}
		if n := len(regexp.MustCompile(`<a `).FindAllString(page.text, -1)); n != len(paths) {
			t.Errorf("the page names %d paths, the document %d", n, len(paths))
		}
	}
	r := serveTiers(t)
	r.get("/", "Host: evil.example").problem(t, 403, "forbidden")
	r.get("//").problem(t, 404, "not-found")
}
