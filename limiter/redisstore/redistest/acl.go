package redistest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var userLine = regexp.MustCompile(`(?m)^ACL SETUSER permitd on >secret (.+)$`)

// Restrict has the server know the user that the manual tells operators to make for permitd. It returns what stands before
// @ in a URL of that user.
func (s *Server) Restrict() string {
	s.t.Helper()
	line := []any{"acl", "setuser", "permitd", "on", ">secret"}
	for _, rule := range strings.Fields(documented(s.t)) {
		line = append(line, rule)
	}
	s.Do(line...)
	return "permitd:secret"
}

// manual is the page that has the rules of that user.
const manual = "docs/redis.md"

// documented returns the rules for that user.
func documented(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("tests have to run inside the repository")
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, manual))
	if err != nil {
		t.Fatal(err)
	}
	found := userLine.FindStringSubmatch(string(text))
	if found == nil {
		t.Fatalf("%s has no line like %s", manual, userLine)
	}
	return found[1]
}
