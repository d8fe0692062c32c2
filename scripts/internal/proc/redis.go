package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Redis is a redis-server of its own on a free port, which keeps nothing on disk unless its settings say so.
type Redis struct {
	Addr  string
	Port  int
	Admin *redis.Client // one connection
	Dir   string        // its working directory, which has its log

	settings, env []string
	process       *Process
}

// startTime is how long redis-server may take to answer.
const startTime = 10 * time.Second

// StartRedis runs redis-server, with settings such as "--maxmemory", "10mb", until it is closed.
func StartRedis(ctx context.Context, settings ...string) (*Redis, error) {
	s, err := NewRedis(settings...)
	if err != nil {
		return nil, err
	}
	if err := s.Run(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// NewRedis is one that does not run yet. Close it.
func NewRedis(settings ...string) (*Redis, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "permitd-redis-")
	if err != nil {
		return nil, err
	}
	s := &Redis{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Port: port, Dir: dir}
	s.settings = append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir,
		"--logfile", s.log()}, settings...)
	s.Admin = s.Client(1)
	return s, nil
}

// Setenv adds a variable to the environment that the server is run in.
func (s *Redis) Setenv(name, value string) { s.env = append(s.env, name+"="+value) }

func (s *Redis) log() string { return filepath.Join(s.Dir, "redis.log") }

// Run starts the server, also again after Kill, and waits until it answers.
func (s *Redis) Run(ctx context.Context) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("redis-server is missing: install it (Debian: apt-get install redis-server), or run scripts/test, which does")
	}
	config := filepath.Join(s.Dir, "redis.conf") // sentinels want one to write to
	if f, err := os.OpenFile(config, os.O_CREATE, 0o600); err != nil {
		return err
	} else {
		f.Close()
	}
	cmd := exec.Command(program, append([]string{config}, s.settings...)...)
	cmd.Env = append(os.Environ(), s.env...)
	if s.process, err = Start(cmd); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	return s.await(ctx)
}

// await waits until the server answers.
func (s *Redis) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for !s.answers(ctx) {
		select {
		case <-s.process.Ended():
			return fmt.Errorf("redis-server ended: %s", tail(s.log()))
		case <-ctx.Done():
			return fmt.Errorf("wait for redis-server: %w", ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// answers reports whether the server does. A client would log that it does not.
func (s *Redis) answers(ctx context.Context) bool {
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return false
	}
	conn.Close()
	return s.Admin.Ping(ctx).Err() == nil
}

// Kill ends the server at once, as a crash would.
func (s *Redis) Kill() { s.process.Kill() }

// Pause stops the server, which keeps its connections, until Resume.
func (s *Redis) Pause() error { return s.process.Signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Redis) Resume() error { return s.process.Signal(syscall.SIGCONT) }

// Close ends the server and removes what it has written.
func (s *Redis) Close() {
	s.Admin.Close()
	if s.process != nil {
		s.process.Kill()
	}
	os.RemoveAll(s.Dir)
}

// Client is a client with room for so many callers, that sends everything once. Close it.
func (s *Redis) Client(callers int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.Addr, PoolSize: callers, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// CPU is the processor time that the server has used.
func (s *Redis) CPU(ctx context.Context) (time.Duration, error) {
	info, err := s.Info(ctx, "cpu")
	if err != nil {
		return 0, err
	}
	user, err1 := strconv.ParseFloat(info["used_cpu_user"], 64)
	system, err2 := strconv.ParseFloat(info["used_cpu_sys"], 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("processor time of Redis: %w", err)
	}
	return time.Duration((user + system) * float64(time.Second)), nil
}

// Version is what the server calls itself.
func (s *Redis) Version(ctx context.Context) string {
	info, err := s.Info(ctx, "server")
	if err != nil {
		return "unknown"
	}
	return info["redis_version"]
}

// Info has the fields of a section of INFO.
func (s *Redis) Info(ctx context.Context, section string) (map[string]string, error) {
	text, err := s.Admin.Info(ctx, section).Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis for INFO %s: %w", section, err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// FreePort is a port that nobody listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
