package main

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestOperationsSection pastes the commands of the manual's section on operations into a shell, one after the other,
// with other ports. The section's server runs until the shell ends.
func TestOperationsSection(t *testing.T) {
	dir := t.TempDir()
	out, err := paste(t, dir, freeAddr(t))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{`"note":"incident 17"`, `"rotated_to":"k_`, `"reset":["key-rpm"]`, `"version":`, `"by":"ann"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the shell did not say %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	checkSecretsAreIgnored(t, dir)
}

// TestOperationsSectionBesideAnother: where an earlier permitd has the port the section fails and says why, and does
// not go on with that one.
func TestOperationsSectionBesideAnother(t *testing.T) {
	earlier := start(t)
	out, err := paste(t, t.TempDir(), earlier.addr())
	if err == nil || !strings.Contains(out, "address already in use") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, text, _ := earlier.get("/v1/providers/openrouter"); !strings.Contains(text, `"revision":1,`) {
		t.Errorf("the earlier one was tuned: %s", text)
	}
}

// paste runs the commands of the section in a folder, with a permitd that listens at an address.
func paste(t *testing.T, dir, addr string) (out string, err error) {
	t.Helper()
	_, section, found := strings.Cut(page(t, "docs/operating.md"), "\n## Operations\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("docs/operating.md has no section on operations")
	}
	script := ""
	for _, part := range strings.Split(section, "```sh\n")[1:] {
		commands, _, _ := strings.Cut(part, "```")
		script += "set -x\n" + commands
	}
	script = strings.NewReplacer("127.0.0.1:8080", addr, "redis://127.0.0.1:6379", redistest.Start(t).URL()).Replace(script)
	return shell(t, dir, script, "PERMITD_ADDR="+addr)
}

// checkSecretsAreIgnored looks for files that hold secrets, in the folder where the section was followed, which git
// would take into a repository there.
func checkSecretsAreIgnored(t *testing.T, dir string) {
	t.Helper()
	ignored, err := os.ReadFile("../../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := os.ReadFile(filepath.Join(dir, "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{"sk-or-acme"}
	for line := range strings.Lines(string(tokens)) {
		secrets = append(secrets, strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]))
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	hold := 0
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(string(text), s) }) {
			continue
		}
		hold++
		if !slices.ContainsFunc(strings.Fields(string(ignored)), func(pattern string) bool {
			is, err := path.Match(strings.TrimPrefix(pattern, "/"), f.Name())
			return err == nil && is
		}) {
			t.Errorf("%s holds a secret, and .gitignore lacks it", f.Name())
		}
	}
	if hold < 4 {
		t.Errorf("%d files with secrets, want the tokens, an operator's and two keys", hold)
	}
}
