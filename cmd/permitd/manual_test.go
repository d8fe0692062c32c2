package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manual is where the pages of the manual are.
const manual = "../.."

// block is a block of commands in the manual.
type block struct {
	page, heading string // heading is that of the section or part of one that it stands in, "" before the first
	commands      string
}

// page returns the text of a page of the manual.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manual, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the blocks of commands on a page, in order.
func blocks(t *testing.T, name string) (all []block) {
	t.Helper()
	heading, fence, commands := "", "", ""
	for line := range strings.Lines(page(t, name)) {
		marks, title, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.HasPrefix(line, "```") && fence == "":
			fence, commands = strings.TrimSpace(line), ""
		case strings.HasPrefix(line, "```"):
			if fence == "```sh" {
				all = append(all, block{page: name, heading: heading, commands: commands})
			}
			fence = ""
		case fence != "":
			commands += line
		case marks == "##" || marks == "###":
			heading = title
		}
	}
	if fence != "" {
		t.Errorf("%s: %s is not closed", name, fence)
	}
	return all
}

// under returns the commands of a page that stand under a heading.
func under(t *testing.T, name, heading string) string {
	t.Helper()
	commands := ""
	for _, b := range blocks(t, name) {
		if b.heading == heading {
			commands += b.commands
		}
	}
	if commands == "" {
		t.Fatalf("%s has no commands under %q", name, heading)
	}
	return commands
}

// builds is where the command is built, once for all tests that run it by name.
var builds struct {
	once sync.Once
	dir  string
	err  error
}

// command returns a folder for PATH that has permitd.
func command(t *testing.T) string {
	t.Helper()
	builds.once.Do(func() {
		if builds.dir, builds.err = os.MkdirTemp("", "permitd-manual-"); builds.err == nil {
			builds.err = exec.Command("go", "build", "-o", filepath.Join(builds.dir, "permitd"), ".").Run()
		}
	})
	if builds.err != nil {
		t.Fatalf("build permitd: %v", builds.err)
	}
	return builds.dir
}

// shell runs commands of the manual as if they were pasted into a shell in a folder, up to the first that fails. What
// they start in the background ends with the shell.
func shell(t *testing.T, dir, commands string, env ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bash := exec.CommandContext(ctx, "bash")
	bash.Dir = dir
	bash.Stdin = strings.NewReader("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n" + commands)
	bash.Cancel = func() error { return bash.Process.Signal(syscall.SIGTERM) } // so that the trap is run
	bash.WaitDelay = 5 * time.Second
	bash.Env = append(append(os.Environ(), "PATH="+command(t)+":"+os.Getenv("PATH")), env...)
	said, err := bash.CombinedOutput()
	return string(said), err
}

// says fails the test unless commands succeed and say all of some texts.
func says(t *testing.T, dir, commands string, env []string, texts ...string) {
	t.Helper()
	out, err := shell(t, dir, commands, env...)
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("the shell did not say %s", text)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", commands, out)
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
