package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/permitd/permitd/api"
)

// namedPipe is the path of one that nobody writes to.
func namedPipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// place puts a file where another is, in one step.
func place(t *testing.T, from, path string) {
	t.Helper()
	if err := os.Rename(from, path); err != nil {
		t.Fatal(err)
	}
}

// shows waits until /metrics, as it is shown to who has a token, has a line.
func (i *instance) shows(t *testing.T, token, line string) {
	t.Helper()
	eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), "GET", i.url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := i.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(text), line+"\n")
	})
}

// inForce reports whether the tokens in force are those of a text.
func inForce(t *testing.T, f *tokenFile, text string) bool {
	t.Helper()
	list, err := api.ParseTokens(text)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Equal(f.list, list)
}

// TestTokenFileIsReadWhenItChanged goes through the schedule look by look.
func TestTokenFileIsReadWhenItChanged(t *testing.T) {
	path, log := file(t, "tokens", "viewer:a:first-token-0123456789"), &buffer{}
	f, err := followTokens(path, false, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(taken, refused int) {
		t.Helper()
		f.look(t.Context(), false)
		if a, b := strings.Count(log.String(), "tokens read again"), strings.Count(log.String(), "can't be used"); a != taken || b != refused {
			t.Errorf("took %d and refused %d, want %d and %d", a, b, taken, refused)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check(0, 0)
	write("viewer:a:second-token-0123456789\n")
	check(0, 0) // it may still be being written
	write("viewer:a:second-token-0123456789\nviewer:b:third-token-0123456789\n")
	check(0, 0)
	check(1, 0)
	check(1, 0)
	write("")
	check(1, 0)
	check(1, 1)
	check(1, 1) // the same bad file is not told again
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check(1, 1)
	check(1, 2)
	// As orchestrators do, who have the file lead to a folder that they exchange.
	dir := filepath.Dir(path)
	for _, version := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, version, "tokens"), []byte("viewer:c:token-"+version+"-0123456789\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, at+".new"); err != nil {
			t.Fatal(err)
		}
		place(t, at+".new", at)
	}
	link("one", filepath.Join(dir, "data"))
	link(filepath.Join("data", "tokens"), path)
	check(1, 2)
	check(2, 2)
	link("two", filepath.Join(dir, "data"))
	check(2, 2)
	check(3, 2)
	if !inForce(t, f, "viewer:c:token-two-0123456789") {
		t.Error("the exchanged folder is not what is in force")
	}
	write(strings.Repeat("# too long\n", maxFile/10))
	check(3, 2)
	check(3, 3)
}

// TestTokenFileThatIsCutOff: wherever a file is cut off in the middle of a line, the tokens from before stay.
func TestTokenFileThatIsCutOff(t *testing.T) {
	whole := "viewer:a:" + viewerToken + "\noperator:b:" + operatorToken + "\n"
	path := file(t, "tokens", whole)
	f, err := followTokens(path, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if whole[:n] == "viewer:a:"+viewerToken+"\n" {
			continue // a good file
		}
		if err := os.WriteFile(path, []byte(whole[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		f.look(t.Context(), true)
		if !inForce(t, f, whole) || !f.failed.Load() {
			t.Fatalf("cut off after %d characters: taken up", n)
		}
	}
	atStart := file(t, "tokens", strings.TrimSuffix(whole, "\n"))
	i := start(t, "--tokens", "@"+atStart)
	if log := i.log.String(); !strings.Contains(log, "does not end with a newline") || i.reads(operatorToken) != 200 {
		t.Errorf("at the start: %s", log)
	}
}

// TestTokenFileThatBecomesSomethingElse: whatever is put in its place for a while, the tokens from before stay,
// revocations are heeded afterwards, and permitd ends when it is told to.
func TestTokenFileThatBecomesSomethingElse(t *testing.T) {
	path := file(t, "tokens", "viewer:a:"+viewerToken+"\n")
	i := start(t, "--tokens", "@"+path)
	place(t, namedPipe(t), path)
	eventually(t, func() bool { return strings.Contains(i.log.String(), "named pipe") })
	if i.reads(viewerToken) != 200 {
		t.Error("the tokens did not stay")
	}
	i.shows(t, viewerToken, `permitd_reload_failed{what="tokens"} 1`)
	place(t, file(t, "new", "viewer:a:"+operatorToken+"\n"), path)
	eventually(t, func() bool { return strings.Contains(i.log.String(), "tokens read again") })
	if i.reads(viewerToken) != 401 || i.reads(operatorToken) != 200 {
		t.Error("the token is not revoked")
	}
	place(t, namedPipe(t), path)
	eventually(t, func() bool { return strings.Count(i.log.String(), "named pipe") == 2 })
	i.signal()
	if code := i.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestHangingFileSystem: it is told of, revocations are heeded when it goes on, and it keeps neither the end away nor
// ever more goroutines.
func TestHangingFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, disk := &buffer{}, &disk{gate: make(chan struct{}, 1)}
		disk.hang()
		taken := ""
		f := &followed{name: "tokens", paths: []string{"p"}, log: slog.New(slog.NewTextHandler(log, nil)), asked: make(chan struct{}, 1),
			take:   func(texts [][]byte) error { taken = string(texts[0]); return nil },
			reader: newFilesReader(disk.read)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.run(ctx); close(done) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if !f.failed.Load() || strings.Count(log.String(), "did not answer") != 1 || disk.reads.Load() != maxHanging || taken != "" {
			t.Errorf("%d reads, took %q, logged %s", disk.reads.Load(), taken, log)
		}
		disk.goOn()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if taken != "new" || f.failed.Load() {
			t.Errorf("took %q, logged %s", taken, log)
		}
		disk.hang()
		time.Sleep(2 * time.Second)
		began := time.Now()
		cancel()
		<-done
		if took := time.Since(began); took != 0 {
			t.Errorf("ended after %v", took)
		}
		disk.goOn()
	})
}

// disk has files that say "new", and reads that hang.
type disk struct {
	gate  chan struct{} // full while reads hang
	reads atomic.Int32
}

func (d *disk) hang() { d.gate <- struct{}{} }
func (d *disk) goOn() { <-d.gate }

func (d *disk) read(string) ([]byte, error) {
	d.reads.Add(1)
	d.hang()
	defer d.goOn()
	return []byte("new"), nil
}

// TestHangup: SIGHUP has files read again at once, however they look, and does not end permitd.
func TestHangup(t *testing.T) {
	path := file(t, "tokens", "viewer:a:"+viewerToken+"\n")
	cert, key := certificate(t, "first")
	i := start(t, "--tokens", "@"+path, "--tls-cert", cert, "--tls-key", key)
	without := start(t)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tokens read again", "certificate read again"} {
		eventually(t, func() bool { return strings.Contains(i.log.String(), want) })
	}
	eventually(t, func() bool { return strings.Contains(without.log.String(), "hangup") })
	if status, _, err := without.get("/readyz"); status != 200 || err != nil {
		t.Errorf("%d %v", status, err)
	}
	i.signal()
	if code := i.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
}
