package redisstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
	"github.com/permitd/permitd/limiter/storetest"
)

// shards are names of providers of which some are on each shard of a cluster.
var shards = []string{"a", "b", "c", "d", "e", "f"}

// connect is a store in some Redis.
func connect(t testing.TB, c redisclient.Config, o Options) *Store {
	t.Helper()
	s, err := Connect(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// exercise does with a store all that permitd does, for several providers at once where that can be.
func exercise(t *testing.T, s *Store) {
	t.Helper()
	ctx, c := t.Context(), limiter.New(s)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := s.Check(ctx)
	must("check", err)
	attended, leave := context.WithCancel(ctx)
	defer leave()
	go c.Attend(attended, "test")
	var asks []limiter.Ask
	for _, p := range shards {
		put(t, c, p, roomy)
		for key := range 3 {
			asks = append(asks, limiter.Ask{Provider: p, Key: fmt.Sprintf("sk-%d", key), Hold: true, IdempotencyKey: fmt.Sprintf("%s-%d", p, key),
				Cost: limiter.Costs{{Unit: "requests", Amount: 5}, {Unit: "held", Amount: 1}}})
		}
	}
	results := c.AcquireBatch(ctx, asks)
	for i, again := range c.AcquireBatch(ctx, asks) {
		if r := results[i]; r.Err != nil || !r.Decision.Allowed || again.Err != nil || !again.Decision.Replayed {
			t.Fatalf("%d: %+v, and again %+v", i, r, again)
		}
	}
	for i, p := range shards {
		permits := results[3*i:]
		_, err := c.Settle(ctx, permits[0].Decision.PermitID, limiter.Costs{{Unit: "requests", Amount: 3}})
		must("settle", err)
		_, err = c.Cancel(ctx, permits[1].Decision.PermitID)
		must("cancel", err)
		_, err = c.ExtendHold(ctx, permits[2].Decision.PermitID, time.Hour)
		must("extend", err)
		u, err := c.Usage(ctx, limiter.UsageQuery{Provider: p})
		if must("usage", err); err == nil && u.Limits[0].Used != 3+0+5 {
			t.Errorf("%s: %d used, want 8", p, u.Limits[0].Used)
		}
		exerciseTuning(ctx, t, c, p, must)
	}
	docs, _, err := c.Policies(ctx, "", 100)
	if must("policies", err); len(docs) != len(shards)-1 {
		t.Errorf("%d policies", len(docs))
	}
	all, err := c.Instances(ctx)
	if must("instances", err); len(all) == 0 {
		t.Error("no instances")
	}
}

// exerciseTuning edits all there is of one provider.
func exerciseTuning(ctx context.Context, t *testing.T, c *limiter.Coordinator, p string, must func(string, error)) {
	t.Helper()
	key := func(n int) limiter.DocID {
		return limiter.DocID{Provider: p, Kind: limiter.KeyEntry, Name: limiter.KeyID(fmt.Sprintf("sk-%d", n))}
	}
	_, err := c.PutEntry(ctx, limiter.DocID{Provider: p, Kind: limiter.PoolEntry, Name: "acme"}, []byte(`{"label":"x"}`), limiter.Edit{})
	must("put a pool", err)
	for n := range 2 {
		_, err = c.PutEntry(ctx, key(n), []byte(`{"pool":"acme"}`), limiter.Edit{})
		must("put a key", err)
	}
	_, err = c.PatchEntry(ctx, key(0), []byte(`{"label":"y"}`), limiter.Edit{})
	must("patch a key", err)
	_, err = c.RotateKey(ctx, p, key(0).Name, key(7).Name, time.Hour, limiter.Edit{})
	must("rotate", err)
	_, err = c.Acquire(ctx, limiter.Ask{Provider: p, Key: "sk-7"})
	must("ask with a rotated key", err)
	entries, _, err := c.Entries(ctx, p, limiter.KeyEntry, "", 10)
	if must("entries", err); len(entries) != 3 {
		t.Errorf("%d entries", len(entries))
	}
	must("delete a key", c.DeleteEntry(ctx, key(1), limiter.Edit{}))
	_, err = c.PatchPolicy(ctx, p, []byte(`{"limits":{"month":{"amount":2000000000}}}`), limiter.Edit{})
	must("patch a policy", err)
	_, _, err = c.Reset(ctx, limiter.ResetQuery{Provider: p}, limiter.Edit{})
	must("reset", err)
	_, err = c.Rollback(ctx, p, 1, limiter.Edit{})
	must("roll back", err)
	items, _, err := c.History(ctx, p, 0, 10)
	if must("history", err); len(items) != 4 {
		t.Errorf("%d items of history", len(items))
	}
	if p == shards[0] {
		must("delete", c.DeletePolicy(ctx, p, limiter.Edit{}))
		if _, err := c.Acquire(ctx, limiter.Ask{Provider: p, Key: "sk-0"}); !errors.Is(err, limiter.ErrUnknownProvider) {
			t.Errorf("%v", err)
		}
	}
}

// TestTopologies: permitd does all that it does in every Redis that it may be given, as a user who may do no more than
// docs/redis.md says.
func TestTopologies(t *testing.T) {
	t.Run("cluster", func(t *testing.T) {
		c := redistest.StartCluster(t, false)
		for _, s := range c.Nodes {
			s.Restrict()
		}
		s := connect(t, redisclient.Config{Mode: redisclient.Cluster, URL: strings.Replace(c.URL(), "redis://", "redis://permitd:secret@", 1)}, Options{Timeout: patience})
		exercise(t, s)
		if n := len(s.Nodes()); n != 3 {
			t.Errorf("asks went to %d nodes, want 3: %v", n, s.Nodes())
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		sentinel := redistest.StartSentinel(t)
		sentinel.Servers[0].Restrict()
		exercise(t, connect(t, redisclient.Config{Mode: redisclient.Sentinel, URL: sentinel.URL() + "&username=permitd&password=secret"}, Options{Timeout: patience}))
	})
	t.Run("TLS", func(t *testing.T) {
		port, settings := redistest.TLS(t)
		user := redistest.Start(t, settings...).Restrict()
		exercise(t, connect(t, redisclient.Config{URL: "rediss://" + user + "@127.0.0.1:" + port}, Options{Timeout: patience}))
		untrusted := connect(t, redisclient.Config{URL: "rediss://localhost:" + port}, Options{Timeout: patience}) // its certificate has no name
		if _, err := untrusted.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("a certificate for something else: %v", err)
		}
	})
	t.Run("socket", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "s")
		user := redistest.Start(t, "--unixsocket", socket).Restrict()
		exercise(t, connect(t, redisclient.Config{URL: "unix://" + user + "@" + socket}, Options{Timeout: patience}))
	})
}

// TestStoreInCluster runs the suite of stores on a cluster, as far as it does not set the clock. It is long, and PERMITD_CLUSTER=1 asks for it.
func TestStoreInCluster(t *testing.T) {
	if environment(t, "PERMITD_CLUSTER", 0) == 0 {
		t.Log("PERMITD_CLUSTER is not set: only what exercise does is tried on a cluster")
		return
	}
	c := redistest.StartCluster(t, false)
	opened := 0
	storetest.Run(t, storetest.Backend{Open: func(t testing.TB) limiter.Store {
		opened++
		return connect(t, redisclient.Config{Mode: redisclient.Cluster, URL: c.URL()}, Options{Prefix: fmt.Sprintf("test-%d", opened), Timeout: patience})
	}, OpenVirtual: openVirtual})
}

// TestOtherSetup: a Redis that is set up otherwise than said is refused with what to say instead.
func TestOtherSetup(t *testing.T) {
	cluster, sentinel, single := redistest.Start(t, "--cluster-enabled", "yes"), redistest.StartSentinel(t), redistest.Shared(t)
	for _, test := range []struct {
		config redisclient.Config
		want   string
	}{
		{redisclient.Config{URL: cluster.URL()}, "set --redis-mode to cluster"},
		{redisclient.Config{URL: strings.TrimSuffix(sentinel.URL(), "?master_name="+redistest.PrimaryName)}, "set --redis-mode to sentinel"},
		{redisclient.Config{Mode: redisclient.Cluster, URL: single.URL()}, "cluster support disabled"},
		{redisclient.Config{Mode: redisclient.Sentinel, URL: single.URL() + "?master_name=x"}, "unknown command"},
		{redisclient.Config{Mode: redisclient.Sentinel, URL: strings.Replace(sentinel.URL(), redistest.PrimaryName, "other", 1)}, "sentinels"},
	} {
		if _, err := connect(t, test.config, Options{Timeout: patience}).Check(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.config, err, test.want)
		}
	}
}
