package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestOperationsChapter pastes the commands of the README's chapter on operations into a shell, one after the other, with
// other ports. A server of the chapter's runs until the shell ends.
func TestOperationsChapter(t *testing.T) {
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
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "permitd"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	addr := freeAddr(t)
	script = strings.NewReplacer("127.0.0.1:8080", addr, "redis://127.0.0.1:6379", redistest.Start(t).URL()).Replace(script)
	shell := exec.CommandContext(ctx, "bash")
	shell.Dir, shell.Stdin = dir, strings.NewReader(script)
	shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "PERMITD_ADDR="+addr)
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{`"note":"incident 17"`, `"rotated_to":"k_`, `"reset":["key-rpm"]`, `"version":`, `"by":"ann"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the shell did not say %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
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
