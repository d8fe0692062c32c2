package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestFirstContact: whoever follows the README from its top has what each command needs.
func TestFirstContact(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "```sh\n")
	if !strings.Contains(before, "Go") || !strings.Contains(before, "1.26") {
		t.Error("does not say before the first command which Go it takes")
	}
	cloned, installed, uses := false, false, 0
	for part := range strings.SplitSeq(rest, "```sh\n") {
		commands, _, _ := strings.Cut(part, "```")
		for line := range strings.Lines(commands) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case strings.HasPrefix(line, "git clone "):
				cloned = true
			case strings.HasPrefix(line, "go install ./cmd/..."):
				installed = true
			case word == "go" && !cloned:
				t.Errorf("before it is cloned: %s", line)
			case word == "permitd" || word == "loadtest":
				if uses++; !installed {
					t.Errorf("before it is installed: %s", line)
				}
			}
		}
	}
	if !cloned || uses == 0 {
		t.Errorf("cloned %t, %d commands of permitd", cloned, uses)
	}
}

// TestOperationsChapter pastes the commands of the README's chapter on operations into a shell, one after the other, with
// other ports. A server of the chapter's runs until the shell ends.
func TestOperationsChapter(t *testing.T) {
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

// TestOperationsChapterBesideAnother: where an earlier permitd has the port the chapter fails and says why, and does
// not go on with that one.
func TestOperationsChapterBesideAnother(t *testing.T) {
	earlier := start(t)
	out, err := paste(t, t.TempDir(), earlier.addr())
	if err == nil || !strings.Contains(out, "address already in use") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, text, _ := earlier.get("/v1/providers/openrouter"); !strings.Contains(text, `"revision":1,`) {
		t.Errorf("the earlier one was tuned: %s", text)
	}
}

// paste runs the commands of the chapter in a folder, with a permitd that listens at an address.
func paste(t *testing.T, dir, addr string) (out string, err error) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, found := strings.Cut(string(text), "\n## Operations\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	if !found {
		t.Fatal("the README has no chapter on operations")
	}
	script, n := "set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n", 0
	for part := range strings.SplitSeq(chapter, "```sh\n") {
		commands, _, fenced := strings.Cut(part, "```")
		if n++; n > 1 && fenced {
			script += "set -x\n" + commands
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bin := t.TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, "permitd"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script = strings.NewReplacer("127.0.0.1:8080", addr, "redis://127.0.0.1:6379", redistest.Start(t).URL()).Replace(script)
	shell := exec.CommandContext(ctx, "bash")
	shell.Dir, shell.Stdin = dir, strings.NewReader(script)
	shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PERMITD_ADDR="+addr)
	said, err := shell.CombinedOutput()
	return string(said), err
}

// checkSecretsAreIgnored looks for files that hold secrets, in the folder where the chapter was followed, which git
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

// freeAddr is an address that nothing listens on, or did not a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
