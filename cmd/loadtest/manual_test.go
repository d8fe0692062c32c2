package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manualCommands returns the commands of the manual's page on load tests that begin with some words, each without what
// joins its lines.
func manualCommands(t *testing.T, words string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/load-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(part, "```")
		for line := range strings.Lines(strings.ReplaceAll(commands, "\\\n", " ")) {
			if strings.HasPrefix(line, words) {
				all = append(all, strings.TrimSpace(line))
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("the page has no command %s", words)
	}
	return all
}

// flagsOf returns the arguments of a command of the manual, without quotes, after some are replaced.
func flagsOf(t *testing.T, command string, oldnew ...string) []string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(command, oldnew[i]) {
			t.Fatalf("%s: lacks %s", command, oldnew[i])
		}
	}
	return strings.Fields(strings.ReplaceAll(strings.NewReplacer(oldnew...).Replace(command), "'", ""))[1:]
}

// TestManualLoads runs the manual's loads for a shorter time.
func TestManualLoads(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	for _, c := range manualCommands(t, "loadtest replay") {
		args := append(flagsOf(t, c, "--duration 30s", "--duration 500ms", "report.html", page), "--rows=300")
		if code, _, stderr := loadtest(t, args...); code != exitOK {
			t.Errorf("%s: exit %d\n%s", c, code, stderr)
		}
	}
	for _, c := range manualCommands(t, "loadtest run") {
		args := append(flagsOf(t, c, "10s:50,20s:50-400,3s:1500,10s:50", "100ms:50,200ms:50-400,30ms:1500,100ms:50", "report.html", page), "--per=1s")
		if code, _, stderr := loadtest(t, args...); code != exitOK {
			t.Errorf("%s: exit %d\n%s", c, code, stderr)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "<html") {
		t.Errorf("no report: %v", err)
	}
}

// TestManualMock starts the mock provider as the manual does, and calls it by the manual's curl.
func TestManualMock(t *testing.T) {
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	out, in := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer in.Close()
		run(ctx, flagsOf(t, manualCommands(t, "loadtest mock")[0], "127.0.0.1:9090", "127.0.0.1:0"), strings.NewReader(""), in, in)
	}()
	said, err := io.ReadAll(io.LimitReader(out, 60)) // more than the line with its address, less than all
	if err != nil {
		t.Fatal(err)
	}
	_, base, found := strings.Cut(strings.SplitN(string(said), "\n", 2)[0], "listening on ")
	if !found {
		t.Fatalf("said %q", said)
	}
	go io.Copy(io.Discard, out)
	text, err := os.ReadFile("../../docs/load-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	_, call, _ := strings.Cut(string(text), "\ncurl -i ")
	call, _, _ = strings.Cut(call, "```")
	shell := exec.CommandContext(ctx, "bash", "-c", "curl -sS -i "+strings.Replace(call, "http://127.0.0.1:9090/v1", base, 1))
	answer, err := shell.CombinedOutput()
	for _, want := range []string{"HTTP/1.1 200", "data: [DONE]", "X-Ratelimit-Remaining-Tokens"} {
		if err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%v, want %s\n%s", err, want, answer)
		}
	}
	interrupt()
	<-ended
}
