package main

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

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
	for _, i := range instances {
		i.becomes(t, "ready")
	}
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

// TestWithoutItsRedis starts before its Redis does, and goes through one that ends and comes back empty.
func TestWithoutItsRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	i := start(t, "--redis-url", server.URL(), "--policies", file(t, "p.yaml", quotaPolicies), "--min-instances", "2")
	granted := i.grantsAll(t, true)
	if granted != 5 {
		t.Errorf("%d of a quota of 10 granted without Redis, want the share of one of two", granted)
	}
	if status, text, err := i.get("/readyz"); status != 200 || text != `{"status":"degraded"}`+"\n" {
		t.Errorf("%d %q %v", status, text, err)
	}
	if n := strings.Count(i.log.String(), "Redis does not answer"); n != 1 {
		t.Errorf("said %d times:\n%s", n, i.log)
	}
	server.Run()
	i.becomes(t, "ready")
	if more := i.grantsAll(t, false); granted+more != 10 {
		t.Errorf("%d granted without Redis and %d with it, of a quota of 10", granted, more)
	}
	if status, text := i.as("", "PATCH", i.url+"/v1/providers/p", `{"limits":{"all":{"amount":30}}}`, "Content-Type", "application/merge-patch+json"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := i.permit(`{"provider":"p","key":"sk-1"}`); status != 200 { // has the instance see what it wrote
		t.Fatalf("%d %s", status, text)
	}

	server.Kill()
	if more := i.grantsAll(t, true); more != 10 { // the two outages count as one
		t.Errorf("%d granted without Redis, want the share of one of two, 15, less the 5 from before", more)
	}
	server.Run()
	i.becomes(t, "ready")
	status, text, err := i.get("/v1/providers/p")
	if status != 200 || !strings.Contains(text, `"amount":30`) || !strings.Contains(text, `"revision":3`) {
		t.Errorf("what was tuned is not put back: %d %s %v", status, text, err)
	}
	// The usage from before is lost with Redis' data, that from meanwhile is not.
	if more := i.grantsAll(t, false); more != 20 {
		t.Errorf("%d granted, want 20 of 30", more)
	}
}

const quotaPolicies = `providers:
  p:
    limits:
      all: {scope: provider, kind: quota, amount: 10, per: month}
`

// grantsAll asks until it is denied, and returns how often it was granted.
func (i *instance) grantsAll(t *testing.T, degraded bool) (granted int) {
	t.Helper()
	for range 100 {
		status, text := i.permit(`{"provider":"p","key":"sk-1"}`)
		if status != 200 && status != 429 || strings.Contains(text, `"degraded":true`) != degraded {
			t.Fatalf("%d %s", status, text)
		}
		if status == 429 {
			return granted
		}
		granted++
	}
	t.Fatal("never denied")
	return 0
}

// becomes waits until /readyz has a status.
func (i *instance) becomes(t *testing.T, status string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, text, err := i.get("/readyz"); err == nil && strings.Contains(text, status) {
			return
		}
	}
	t.Fatalf("it does not become %s; logged %s", status, i.log)
}

func TestWrongPasswordIsRefused(t *testing.T) {
	server := redistest.Start(t)
	c := server.Client()
	defer c.Close()
	if err := c.ConfigSet(t.Context(), "requirepass", "secret").Err(); err != nil {
		t.Fatal(err)
	}
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

// TestOtherTopologies: permitd answers from a cluster and from behind a sentinel, and shows on /metrics what it asks.
func TestOtherTopologies(t *testing.T) {
	t.Run("cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t, false)
		i := start(t, "--redis-mode", "cluster", "--redis-url", cluster.URL(), "--policies", file(t, "p.yaml", goodPolicies))
		testTopology(t, i, `permitd_redis_up{node="`+cluster.Addr(cluster.Owner("{openrouter}"))+`"} 1`)
	})
	t.Run("sentinel", func(t *testing.T) {
		sentinel := redistest.StartSentinel(t)
		i := start(t, "--redis-mode", "sentinel", "--redis-url", sentinel.URL(), "--policies", file(t, "p.yaml", goodPolicies))
		testTopology(t, i, `permitd_redis_up{node="sentinel:`+redistest.PrimaryName+`"} 1`)
	})
}

func testTopology(t *testing.T, i *instance, metric string) {
	t.Helper()
	for _, want := range []int{200, 429} {
		if status, text := i.permit(`{"provider":"openrouter","key":"sk-1"}`); status != want {
			t.Errorf("%d %s, want %d", status, text, want)
		}
	}
	if _, text, _ := i.get("/metrics"); !strings.Contains(text, metric+"\n") {
		t.Errorf("/metrics lacks %s", metric)
	}
}
