package redisstore

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// NodeState is how a Redis stands.
type NodeState struct {
	Addr   string  // HOST:PORT of a server, its path, or "sentinel:" and what sentinels call the primary
	Up     bool    // false: it did not answer, and is probed until it does
	Memory float64 // how much of its maxmemory it uses, of 1, as last seen; 0: it has none, or was not looked at
}

// Nodes are the Redis that there is, or the masters of a cluster that asks have gone to.
func (s *Store) Nodes() []NodeState {
	states := []NodeState{}
	for n := range s.nodes.inUse() {
		states = append(states, NodeState{n.addr, !n.down.Load(), s.memory.of(n.addr)})
	}
	slices.SortFunc(states, func(a, b NodeState) int { return cmp.Compare(a.Addr, b.Addr) })
	return states
}

// nodes tells which node has a key.
type nodes struct {
	store    *Store
	clusters []*redis.ClusterClient // of the lanes first, and of the other links; none: there is one node
	only     *node                  // that one; or all of a cluster, as long as it is not known who is in it

	mu       sync.Mutex
	byAddr   map[string]*node
	watching sync.WaitGroup
	ended    bool // nothing is watched any more
}

func newNodes(s *Store, addr string) *nodes {
	ns := &nodes{store: s, byAddr: map[string]*node{}}
	for _, l := range s.links.all() {
		if c, ok := l.UniversalClient.(*redis.ClusterClient); ok {
			ns.clusters = append(ns.clusters, c)
		}
	}
	ns.only = newNode(ns, addr)
	return ns
}

// of is the node that has a key.
func (ns *nodes) of(ctx context.Context, key string) *node {
	if ns.clusters == nil {
		return ns.only
	}
	master, err := ns.clusters[0].MasterForKey(ctx, key)
	if err != nil {
		return ns.only
	}
	addr := master.Options().Addr
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n, known := ns.byAddr[addr]
	if !known {
		n = newNode(ns, addr)
		ns.byAddr[addr] = n
	}
	return n
}

// reload has it looked up who is in the cluster. go-redis does that when a node says so, not when one is silent.
func (ns *nodes) reload(ctx context.Context) {
	for _, c := range ns.clusters {
		c.ReloadState(ctx) // in the background, and not more often than five times a second
	}
}

// moved reports whether another node has the key by now. Queues that ask a node that is down are told, too.
func (ns *nodes) moved(ctx context.Context, from *node, key string) bool {
	if ns.clusters == nil {
		return false
	}
	ns.reload(ctx)
	for q := range ns.store.all() {
		if q.node.Load() == from {
			q.node.Store(ns.of(ctx, q.key))
		}
	}
	if ns.of(ctx, key) == from {
		return false
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	delete(ns.byAddr, from.addr)
	return true
}

// refuse has all that waits for a node fail.
func (ns *nodes) refuse(n *node) {
	for q := range ns.store.all() {
		if q.node.Load() == n {
			q.refuse(unavailable(n.refusal()))
		}
	}
}

// inUse are the nodes that asks go to.
func (ns *nodes) inUse() map[*node]bool {
	used := map[*node]bool{}
	if ns.clusters == nil {
		used[ns.only] = true
	}
	for q := range ns.store.all() {
		if n := q.node.Load(); n != nil {
			used[n] = true
		}
	}
	return used
}

// watch does something about a node until the store ends.
func (ns *nodes) watch(f func(context.Context)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if !ns.ended {
		ns.watching.Go(func() { f(ns.store.closing) })
	}
}

// end waits for what is watched, which must have been told to end.
func (ns *nodes) end() {
	ns.mu.Lock()
	ns.ended = true
	ns.mu.Unlock()
	ns.watching.Wait()
}
