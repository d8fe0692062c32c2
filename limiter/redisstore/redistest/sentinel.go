package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// PrimaryName is what sentinels call the primary.
const PrimaryName = "limits"

// Sentinel is a primary and a replica, and a sentinel that has the replica promoted half a second after the primary is
// gone.
type Sentinel struct {
	t        testing.TB
	Servers  [2]*Server // the primary, as it is at first, and the replica
	sentinel *Server
}

// StartSentinel runs all of it until the test ends.
func StartSentinel(t testing.TB, settings ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t}
	s.Servers[0] = Start(t, append(settings, "--repl-diskless-sync-delay", "0")...)
	s.Servers[1] = Start(t, append(settings, "--replicaof", "127.0.0.1 "+s.Servers[0].Port(), "--repl-diskless-sync-delay", "0")...)
	await(t, "replica", func() bool { return s.Servers[1].says("master_link_status:up\r\n") })
	s.Servers[0].replicate()
	dir := t.TempDir()
	config := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n",
		PrimaryName, s.Servers[0].Port())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.sentinel = &Server{t: t, port: freePort(t)}
	s.sentinel.args = []string{config, "--sentinel", "--port", s.sentinel.Port(), "--bind", "127.0.0.1", "--dir", dir}
	s.sentinel.Run()
	t.Cleanup(s.sentinel.Kill)
	c := redis.NewSentinelClient(&redis.Options{Addr: s.sentinel.Addr()})
	defer c.Close()
	await(t, "sentinel", func() bool {
		replicas, err := c.Replicas(context.Background(), PrimaryName).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" && replicas[0]["master-link-status"] == "ok"
	})
	return s
}

// replicate writes something and waits until a replica has it. One that is new is passed on nothing for up to a second.
func (s *Server) replicate() {
	s.t.Helper()
	client, ctx := s.Client(), context.Background()
	defer client.Close()
	conn := client.Conn()
	defer conn.Close()
	if err := conn.Set(ctx, "replicated", 1, time.Second).Err(); err != nil {
		s.t.Fatal(err)
	}
	if n, err := conn.Do(ctx, "wait", 1, 2000).Int(); err != nil || n != 1 {
		s.t.Fatalf("%d replicas: %v", n, err)
	}
}

// URL is where clients ask for the primary.
func (s *Sentinel) URL() string { return s.sentinel.URL() + "?master_name=" + PrimaryName }

// AwaitPromotion waits until a server is the primary.
func (s *Sentinel) AwaitPromotion(server int) {
	s.t.Helper()
	await(s.t, "promotion", func() bool { return s.Servers[server].says("role:master\r\n") })
}
