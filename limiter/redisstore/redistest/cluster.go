package redistest

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	masters = 3
	slots   = 16384
)

// Cluster is a Redis Cluster of three masters, with a replica each or with none. Clients reach each node by way of a
// proxy, which is the address that the node announces.
type Cluster struct {
	t       testing.TB
	Nodes   []*Server // the masters, and then their replicas in the same order
	proxies []*Proxy
}

// StartCluster runs a cluster until the test ends. While a shard is down, the others go on.
func StartCluster(t testing.TB, replicas bool, settings ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	n := masters
	if replicas {
		n = 2 * masters
	}
	for range n {
		s := plan(t, t.TempDir(), settings...)
		p := NewProxy(t, s)
		_, port, _ := net.SplitHostPort(p.Addr())
		bus := freePort(t)
		s.args = append(s.args, "--cluster-enabled", "yes", "--cluster-port", itoa(bus), "--cluster-announce-bus-port", itoa(bus),
			"--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", port, "--cluster-node-timeout", "1500",
			"--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0")
		s.Run()
		t.Cleanup(s.Kill)
		c.Nodes, c.proxies = append(c.Nodes, s), append(c.proxies, p)
		if len(c.Nodes) <= masters {
			i := len(c.Nodes) - 1
			s.Do("cluster", "addslotsrange", i*slots/masters, (i+1)*slots/masters-1)
		}
		s.Do("cluster", "set-config-epoch", len(c.Nodes))
		c.Nodes[0].Do("cluster", "meet", "127.0.0.1", s.Port(), bus)
	}
	for _, s := range c.Nodes {
		await(t, "cluster", func() bool {
			text := s.Do("cluster", "info").(string)
			return strings.Contains(text, "cluster_state:ok") && strings.Contains(text, "cluster_known_nodes:"+itoa(n))
		})
	}
	for i := masters; i < n; i++ {
		c.Nodes[i].Do("cluster", "replicate", c.id(i-masters))
	}
	for i := masters; i < n; i++ {
		await(t, "replica", func() bool { return c.Nodes[i].says("master_link_status:up\r\n") })
	}
	for _, s := range c.Nodes { // a master takes orders only from those that it knows to be its replicas
		await(t, "replicas", func() bool { return strings.Count(s.Do("cluster", "nodes").(string), "slave ") == n-masters })
	}
	return c
}

// URL is where clients reach the cluster.
func (c *Cluster) URL() string {
	return c.proxies[0].URL() + "?addr=" + c.proxies[1].Addr() + "&addr=" + c.proxies[2].Addr()
}

// Addr is the address that a node announces.
func (c *Cluster) Addr(node int) string { return c.proxies[node].Addr() }

// Lose makes all nodes lose that share of their replies to clients.
func (c *Cluster) Lose(share float64) {
	for _, p := range c.proxies {
		p.Lose(share)
	}
}

// Lost is how many replies were lost.
func (c *Cluster) Lost() (n int) {
	for _, p := range c.proxies {
		n += p.Lost()
	}
	return n
}

// Client is a client of the whole cluster; close it.
func (c *Cluster) Client() *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.proxies[0].Addr(), c.proxies[1].Addr(), c.proxies[2].Addr()}})
}

// id is what a node calls itself.
func (c *Cluster) id(node int) string { return c.Nodes[node].Do("cluster", "myid").(string) }

// slot is that of a key.
func (c *Cluster) slot(key string) int { return int(c.Nodes[0].Do("cluster", "keyslot", key).(int64)) }

// Owner is the node that has a key, as the first node knows it. All nodes have to answer.
func (c *Cluster) Owner(key string) int {
	c.t.Helper()
	slot, of := int64(c.slot(key)), ""
	for _, r := range c.Nodes[0].Do("cluster", "slots").([]any) { // first, last, master, replicas; each with address, port and id
		if r := r.([]any); r[0].(int64) <= slot && slot <= r[1].(int64) {
			of = r[2].([]any)[2].(string)
		}
	}
	for i := range c.Nodes {
		if c.id(i) == of {
			return i
		}
	}
	c.t.Fatalf("nobody has slot %d", slot)
	return 0
}

// Migrate hands the slot of a key, with all that is in it, to the next master, as tools that reshard do.
func (c *Cluster) Migrate(key string) {
	c.t.Helper()
	slot, from := c.slot(key), c.Owner(key)
	to := (from + 1) % len(c.Nodes)
	for !c.Nodes[to].says("role:master\r\n") {
		to = (to + 1) % len(c.Nodes)
	}
	source, target := c.Nodes[from], c.Nodes[to]
	target.Do("cluster", "setslot", slot, "importing", c.id(from))
	source.Do("cluster", "setslot", slot, "migrating", c.id(to))
	client, ctx := source.Client(), context.Background()
	defer client.Close()
	for {
		keys, err := client.ClusterGetKeysInSlot(ctx, slot, 500).Result()
		if err != nil {
			c.t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		line := []any{"migrate", "127.0.0.1", target.Port(), "", 0, 5000, "keys"}
		for _, key := range keys {
			line = append(line, key)
		}
		if err := client.Do(ctx, line...).Err(); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, s := range []*Server{target, source} {
		s.Do("cluster", "setslot", slot, "node", c.id(to))
	}
	await(c.t, "migration", func() bool { return c.Owner(key) == to })
}

// FailOver has the replica of a master take its place, in good order: nothing that was acknowledged is lost.
func (c *Cluster) FailOver(master int) {
	c.t.Helper()
	c.Nodes[master+masters].Do("cluster", "failover")
	c.AwaitPromotion(master)
}

// AwaitPromotion waits until the replica of a master has taken its place.
func (c *Cluster) AwaitPromotion(master int) {
	c.t.Helper()
	await(c.t, "promotion", func() bool { return c.Nodes[master+masters].says("role:master\r\n") })
}
