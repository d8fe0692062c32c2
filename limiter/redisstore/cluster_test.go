package redisstore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// clusterCrowd asks for permits of one provider in a cluster.
func clusterCrowd(t *testing.T, cluster *redistest.Cluster, provider string, timeout time.Duration) *crowd {
	t.Helper()
	c := &crowd{t: t, provider: provider, stop: make(chan struct{})}
	c.redis = func() *redistest.Server { return cluster.Nodes[cluster.Owner("{"+provider+"}")] }
	c.connect(redisclient.Config{Mode: redisclient.Cluster, URL: cluster.URL()}, timeout)
	return c
}

// TestClusterChargesOnce hands a slot that is in use from master to master, and fails a master over, while replies are
// lost. What was granted is charged, once, and nothing else.
func TestClusterChargesOnce(t *testing.T) {
	cluster := redistest.StartCluster(t, true)
	crowds := []*crowd{clusterCrowd(t, cluster, "a", 500*time.Millisecond), clusterCrowd(t, cluster, "b", 500*time.Millisecond)}
	crowds[1].settles = true
	cluster.Lose(0.02)
	for _, c := range crowds {
		c.start()
		c.until(300)
	}
	rounds := environment(t, "PERMITD_MIGRATIONS", 2)
	for round := range rounds {
		for _, c := range crowds {
			cluster.Migrate("{" + c.provider + "}")
			c.until(300)
		}
		if round == 0 {
			cluster.FailOver(cluster.Owner("{a}"))
			for _, c := range crowds {
				c.until(300)
			}
		}
	}
	cluster.Lose(0)
	for _, c := range crowds {
		c.settle()
	}
	t.Logf("%d replies lost", cluster.Lost())
}

// asked is how an ask ended, and how long that took.
type asked struct {
	err  error
	took time.Duration
}

// askFor asks for permits one after the other, for that long.
func askFor(t *testing.T, c *limiter.Coordinator, provider string, d time.Duration) (all []asked) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < d; {
		began := time.Now()
		_, err := c.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"})
		all = append(all, asked{err, time.Since(began)})
		time.Sleep(time.Millisecond) // so that not all is over in a moment
	}
	return all
}

// median is that of how long asks took.
func median(all []asked) time.Duration {
	took := make([]time.Duration, len(all))
	for i, a := range all {
		took[i] = a.took
	}
	return quantile(took, 0.5)
}

// failures are the asks without an answer.
func failures(all []asked) (n int) {
	for _, a := range all {
		if a.err != nil {
			n++
		}
	}
	return n
}

// back waits until asks are answered again, and returns how long that took.
func back(t *testing.T, c *limiter.Coordinator, provider string) time.Duration {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		_, err := c.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"})
		if err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatal(err)
		}
	}
}

// TestDeadShard: while one master is stopped, asks for its providers fail at once, and those for others don't notice.
func TestDeadShard(t *testing.T) {
	cluster := redistest.StartCluster(t, false)
	s := connect(t, redisclient.Config{Mode: redisclient.Cluster, URL: cluster.URL()}, Options{})
	c := limiter.New(s)
	byNode := map[int]string{}
	for i := 0; len(byNode) < 3; i++ {
		p := fmt.Sprint("p", i)
		if n := cluster.Owner("{" + p + "}"); byNode[n] == "" {
			byNode[n] = p
			put(t, c, p, roomy)
			askFor(t, c, p, 20*time.Millisecond)
		}
	}
	dead, alive := byNode[1], byNode[2]
	cluster.Nodes[1].Pause()
	askFor(t, c, dead, 500*time.Millisecond) // it is noticed
	at := make(chan []asked)
	go func() { at <- askFor(t, c, alive, time.Second) }()
	refused := askFor(t, c, dead, time.Second)
	others := <-at
	if n := failures(refused); n != len(refused) {
		t.Errorf("%d of %d were answered by a stopped master", len(refused)-n, len(refused))
	}
	if m := median(refused); m > 20*time.Millisecond {
		t.Errorf("refused after %v", m)
	}
	if n := failures(others); n > len(others)/100 {
		t.Errorf("%d of %d asks for another shard failed", n, len(others))
	}
	if m := median(others); m > 20*time.Millisecond {
		t.Errorf("another shard's asks took %v", m)
	}
	want := []NodeState{{Addr: cluster.Addr(0), Up: true}, {Addr: cluster.Addr(1)}, {Addr: cluster.Addr(2), Up: true}}
	for _, w := range want {
		if !slices.Contains(s.Nodes(), w) {
			t.Errorf("%+v, want %+v", s.Nodes(), w)
		}
	}
	cluster.Nodes[1].Resume()
	took := back(t, c, dead)
	if took > 2*time.Second {
		t.Errorf("back after %v", took)
	}
	t.Logf("refused in %v, others answered in %v, back after %v", median(refused), median(others), took)
}
