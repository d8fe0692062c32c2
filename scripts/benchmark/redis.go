package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redisServer is a redis-server of its own, which keeps nothing.
type redisServer struct {
	addr  string
	admin *redis.Client
	cmd   *exec.Cmd
	dir   string
	ended chan struct{}
}

// startTime is how long redis-server may take to answer.
const startTime = 5 * time.Second

// startRedis runs redis-server until it is closed.
func startRedis(ctx context.Context) (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is missing: install it (Debian: apt-get install redis-server), or run scripts/test, which does")
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "permitd-bench-")
	if err != nil {
		return nil, err
	}
	s := &redisServer{addr: net.JoinHostPort("127.0.0.1", port), dir: dir, ended: make(chan struct{})}
	s.cmd = exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	var log bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	dieWithParent(s.cmd)
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // if it ends early, its log tells
	}()
	s.admin = s.client(1)
	if err := s.await(ctx); err != nil {
		s.close() // from here on nobody writes to the log
		return nil, fmt.Errorf("%w\n%s", err, log.Bytes())
	}
	return s, nil
}

// await waits until the server answers.
func (s *redisServer) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for !s.answers(ctx) {
		select {
		case <-s.ended:
			return errors.New("redis-server ended")
		case <-ctx.Done():
			return fmt.Errorf("wait for redis-server: %w", ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// answers reports whether the server does. A client would log that it does not.
func (s *redisServer) answers(ctx context.Context) bool {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return false
	}
	conn.Close()
	return s.admin.Ping(ctx).Err() == nil
}

// close kills the server.
func (s *redisServer) close() {
	s.admin.Close()
	_ = s.cmd.Process.Kill() // or it has ended
	<-s.ended
	os.RemoveAll(s.dir)
}

// client is a client with room for so many callers, that sends everything once. Close it.
func (s *redisServer) client(callers int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.addr, PoolSize: callers, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// cpu is the processor time that the server has used.
func (s *redisServer) cpu(ctx context.Context) (time.Duration, error) {
	info, err := s.info(ctx, "cpu")
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

// version is what the server calls itself.
func (s *redisServer) version(ctx context.Context) string {
	info, err := s.info(ctx, "server")
	if err != nil {
		return "unknown"
	}
	return info["redis_version"]
}

func (s *redisServer) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := s.admin.Info(ctx, section).Result()
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

// freePort is a port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
