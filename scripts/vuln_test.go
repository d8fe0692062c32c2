// Package scripts tries the scripts of this folder that decide something.
package scripts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVuln: the check passes when there is nothing, and when its database is out of reach; it fails in every other
// case.
func TestVuln(t *testing.T) {
	const (
		unreached = `govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": dial tcp: lookup vuln.go.dev: no such host`
		forbidden = `govulncheck: fetching vulnerabilities: HTTP GET https://vuln.go.dev/index/modules.json.gz returned unexpected status: 403 Forbidden`
		missing   = `govulncheck: fetching vulnerabilities: HTTP GET https://vuln.go.dev/index/modules.json.gz returned unexpected status: 404 Not Found`
	)
	for _, tt := range []struct {
		name, out string
		code      int // of govulncheck
		required  string
		want      int
		says      string
	}{
		{"nothing", "No vulnerabilities found.", 0, "1", 0, ""},
		{"found", "Vulnerability #1: GO-2026-1\n    More info: https://pkg.go.dev/vuln/GO-2026-1", 1, "", 1, "there are known vulnerabilities"},
		{"found, and then away", "Vulnerability #1: GO-2026-1\n" + unreached, 1, "", 1, "there are known vulnerabilities"},
		{"out of reach", unreached + "\nexit status 1", 1, "", 0, "NOT CHECKED: the vulnerability database is out of reach"},
		{"kept away", forbidden, 1, "", 0, "the vulnerability database is out of reach"},
		{"out of reach, and required", unreached, 1, "1", 1, "the vulnerability database is out of reach"},
		{"another database", strings.ReplaceAll(unreached, "vuln.go.dev", "mirror.example"), 1, "", 0, "the vulnerability database is out of reach"},
		{"no such database", missing, 1, "", 1, "found nothing out"},
		{"does not build", "govulncheck: loading packages: There are errors with the provided package patterns: vuln.go.dev", 1, "", 1, "found nothing out"},
		{"not there", `go: golang.org/x/vuln/cmd/govulncheck@v1.9.0: Get "https://proxy.example/golang.org/x/vuln": dial tcp: no such host`, 1, "", 1, "could not be run"},
		{"silent", "", 0, "", 1, "found nothing out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			fake := fmt.Sprintf("#!/bin/sh\ncat <<'END'\n%s\nEND\nexit %d\n", tt.out, tt.code)
			if err := os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700); err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), "./vuln")
			c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "PERMITD_REQUIRE_VULN="+tt.required)
			out, _ := c.CombinedOutput()
			if code := c.ProcessState.ExitCode(); code != tt.want || !strings.Contains(string(out), tt.says) || !strings.Contains(string(out), tt.out) {
				t.Errorf("exit %d\n%s", code, out)
			}
		})
	}
}
