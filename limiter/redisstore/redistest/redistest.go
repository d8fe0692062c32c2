// Package redistest starts Redis servers for tests.
package redistest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server of its own, on a free port, that keeps nothing on disk unless its settings say so.
type Server struct {
	t    testing.TB
	args []string
	port int
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs redis-server with settings such as "--maxmemory", "10mb" until the test ends. Without the program, the test
// fails.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := run(t, t.TempDir(), settings...)
	t.Cleanup(s.Kill)
	return s
}

func run(t testing.TB, dir string, settings ...string) *Server {
	t.Helper()
	s := plan(t, dir, settings...)
	s.Run()
	return s
}

// plan is a server that is not started yet.
func plan(t testing.TB, dir string, settings ...string) *Server {
	t.Helper()
	s := &Server{t: t, port: freePort(t)}
	s.args = append([]string{"--port", s.Port(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", dir}, settings...)
	return s
}

// Shared is a server for all tests of a package; use a prefix of your own on it. Call Stop from TestMain.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Do(func() {
		dir, err := os.MkdirTemp("", "redistest")
		if err != nil {
			t.Fatal(err)
		}
		sharedDir = dir
		sharedServer = run(t, dir)
	})
	if sharedServer == nil {
		t.Fatal("redis-server did not start")
	}
	return sharedServer
}

var (
	shared       sync.Once
	sharedServer *Server
	sharedDir    string
)

// Stop ends the shared server, if it was started.
func Stop() {
	if sharedServer != nil {
		sharedServer.Kill()
		os.RemoveAll(sharedDir)
	}
	if os.Getenv("SSL_CERT_FILE") != "" { // see Trust
		if a, err := ownAuthority(); err == nil {
			os.RemoveAll(a.dir)
		}
	}
}

// URL is where the server is reached, by a user who may do everything.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// UserURL is where the server is reached by a user who may do what permitd needs, and nothing else.
func (s *Server) UserURL() string { return "redis://" + s.Restrict() + "@" + s.Addr() }

// Addr is its address.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", s.Port()) }

// Port is that of Addr.
func (s *Server) Port() string { return strconv.Itoa(s.port) }

// Do runs a command on the server, which must not fail.
func (s *Server) Do(line ...any) any {
	s.t.Helper()
	c := s.Client()
	defer c.Close()
	result, err := c.Do(context.Background(), line...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", line, err)
	}
	return result
}

// await polls until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// says reports whether the server's INFO has such a text.
func (s *Server) says(what string) bool {
	c := s.Client()
	defer c.Close()
	text, err := c.Info(context.Background()).Result()
	return err == nil && strings.Contains(text, what)
}

// Run starts the server, also again after Kill, and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	log := filepath.Join(os.TempDir(), "redis-"+strconv.Itoa(s.port)+".log")
	s.cmd.Args = append(s.cmd.Args, "--logfile", log)
	defer os.Remove(log)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("tests need redis-server (Debian: apt-get install redis-server; or run scripts/test): %v", err)
	}
	done, cmd := make(chan struct{}), s.cmd
	s.done = done
	go func() {
		cmd.Wait()
		close(done)
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if s.answers() {
			return
		}
		select {
		case <-done:
			text, _ := os.ReadFile(log)
			s.t.Fatalf("redis-server ended: %s", text)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatal("redis-server does not answer")
		}
	}
}

// answers reports whether the server does.
func (s *Server) answers() bool {
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return false
	}
	conn.Close()
	c := s.Client()
	defer c.Close()
	return c.Ping(context.Background()).Err() == nil
}

// Client is a client of its own; close it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1})
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.done
}

// Pause stops the server, which keeps its connections, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// freePort is a port that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func itoa(n int) string { return strconv.Itoa(n) }
