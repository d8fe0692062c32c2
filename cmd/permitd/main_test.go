package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

func TestMain(m *testing.M) {
	for _, v := range os.Environ() { // of whoever runs the tests
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PERMITD_") {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(afterTests{m})
}

// afterTests stops the Redis that tests shared, and removes the command that they built.
type afterTests struct{ *testing.M }

func (m afterTests) Run() int {
	defer redistest.Stop()
	defer func() { os.RemoveAll(builds.dir) }()
	return m.M.Run()
}

const goodPolicies = `providers:
  openrouter:
    limits:
      key-rpm: {scope: key, kind: rate, amount: 60, per: 1m, burst: 1}
      rpd:     {scope: pool, kind: quota, amount: 1000, per: day}
      rps:     {scope: pool, kind: rate, amount: 1000, per: 1s}
  other:
    limits: {}
`

// file writes a file that lives as long as the test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// call runs a command to its end.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// buffer is a bytes.Buffer for a writer and a reader at the same time.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// instance is a permitd that serves.
type instance struct {
	t      *testing.T
	url    string
	admin  string // "" unless it listens there
	signal context.CancelFunc
	exit   chan int
	log    *buffer
	client *http.Client
}

// start runs serve on a free port and waits until it is ready. The test's end stops it, if it still runs.
func start(t *testing.T, args ...string) *instance {
	t.Helper()
	i := prepare(t)
	i.start(args...)
	if i.url == "" {
		t.Fatalf("did not start; logged %s", i.log)
	}
	return i
}

// prepare is an instance that is yet to start.
func prepare(t *testing.T) *instance {
	transport := &http.Transport{}
	return &instance{t: t, exit: make(chan int, 1), log: &buffer{}, client: &http.Client{Transport: transport}}
}

// start leaves url empty when that fails.
func (i *instance) start(args ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	i.signal = cancel
	stdout, w := io.Pipe()
	go func() {
		i.exit <- run(ctx, append([]string{"--addr", "127.0.0.1:0"}, args...), strings.NewReader(""), w, i.log)
		close(i.exit)
		w.Close()
	}()
	lines := bufio.NewReader(stdout)
	line, _ := lines.ReadString('\n')
	_, i.url, _ = strings.Cut(strings.TrimSpace(line), "permitd listening on ")
	if i.url != "" && slices.Contains(args, "--admin-addr") {
		line, _ := lines.ReadString('\n')
		_, i.admin, _ = strings.Cut(strings.TrimSpace(line), "permitd admin listening on ")
	}
	go io.Copy(io.Discard, lines)
	i.t.Cleanup(func() {
		cancel()
		i.client.CloseIdleConnections()
		for range i.exit { // until it has ended
		}
	})
}

func (i *instance) addr() string {
	_, addr, _ := strings.Cut(i.url, "://")
	return addr
}

func (i *instance) get(path string) (status int, text string, err error) {
	resp, err := i.client.Get(i.url + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (i *instance) permit(body string) (status int, text string) {
	i.t.Helper()
	status, text, err := post(i.client, i.url+"/v1/permits", body)
	if err != nil {
		i.t.Fatal(err)
	}
	return status, text
}

func post(c *http.Client, url, body string) (status int, text string, err error) {
	resp, err := c.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// ended waits for the exit code. It leaves no connection that permitd would wait for.
func (i *instance) ended() int {
	i.t.Helper()
	i.client.CloseIdleConnections()
	select {
	case code := <-i.exit:
		return code
	case <-time.After(20 * time.Second):
		i.t.Fatalf("did not end; logged %s", i.log)
		return -1
	}
}

// eventually polls until what is true.
func eventually(t *testing.T, what func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !what() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("did not happen in time")
		}
	}
}
