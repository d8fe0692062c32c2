package main

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// startShared starts so many instances at once on one Redis, under a prefix of their own.
func startShared(t *testing.T, n int, args ...string) []*instance {
	t.Helper()
	args = append([]string{"--redis-url", redistest.Shared(t).URL(), "--redis-prefix", "test-" + rand.Text()}, args...)
	instances := make([]*instance, n)
	var wg sync.WaitGroup
	for i := range instances {
		instances[i] = prepare(t)
		wg.Go(func() { instances[i].start(args...) })
	}
	wg.Wait()
	for _, i := range instances {
		if i.url == "" {
			t.Fatalf("did not start; logged %s", i.log)
		}
	}
	return instances
}

func TestInstancesThatStartTogetherStorePoliciesOnce(t *testing.T) {
	instances := startShared(t, 3, "--policies", file(t, "p.yaml", goodPolicies))
	stored := 0
	for _, i := range instances {
		stored += strings.Count(i.log.String(), `msg="policy stored" provider=openrouter`)
		if _, text, _ := i.get("/v1/providers/openrouter"); !strings.Contains(text, `"revision":1`) {
			t.Errorf("%s", text)
		}
		if strings.Contains(i.log.String(), "differs") {
			t.Errorf("logged %s", i.log)
		}
	}
	if stored != 1 {
		t.Errorf("stored %d times", stored)
	}
}

func TestInstancesCountTogether(t *testing.T) {
	instances := startShared(t, 2, "--policies", file(t, "p.yaml", goodPolicies))
	if status, text := instances[0].permit(`{"provider":"openrouter","key":"sk-1"}`); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := instances[1].permit(`{"provider":"openrouter","key":"sk-1"}`); status != 429 {
		t.Errorf("%d %s", status, text)
	}
}

func TestSharedHammered(t *testing.T) {
	instances := startShared(t, 3, "--policies", file(t, "p.yaml", hammerPolicies), "--log-level", "error")
	t.Run("bound", func(t *testing.T) { testBound(t, instances...) })
	t.Run("denied by key", func(t *testing.T) { testDeniedByKeyChargesNobodyElse(t, instances...) })
}

func TestWithoutItsRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	code, _, stderr := call(t, "", "--addr", "127.0.0.1:0", "--redis-url", server.URL())
	if code != 1 || !strings.Contains(stderr, "can't use this Redis") || strings.Count(strings.TrimSpace(stderr), "\n") != 0 {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestReplicaIsRefused(t *testing.T) {
	primary, replica := redistest.Start(t), redistest.Start(t)
	c := replica.Client()
	defer c.Close()
	host, port, _ := strings.Cut(primary.Addr(), ":")
	if err := c.ReplicaOf(context.Background(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := call(t, "", "--addr", "127.0.0.1:0", "--redis-url", replica.URL())
	if code != 1 || !strings.Contains(stderr, "give the address of the primary") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestEvictingRedisIsWarnedOf(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	i := start(t, "--redis-url", server.URL())
	for _, want := range []string{"may evict counters", "keeps no append-only file"} {
		if !strings.Contains(i.log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, i.log)
		}
	}
}
