package redisstore

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

const (
	memoryPause = 10 * time.Second // between one look at how full nodes are and the next, at least
	memoryHigh  = 0.8              // from here on a node is said to be nearly full,
	memoryLow   = 0.75             // until it is below this
)

// memory is how much each node uses of the memory that it may use.
type memory struct {
	mu     sync.Mutex
	used   map[string]float64 // by address, of 1; nodes without a bound have none
	high   map[string]bool    // those that were said to be nearly full
	looked time.Time
}

// due reports whether it is time to look again.
func (m *memory) due() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.looked.IsZero() && time.Since(m.looked) < memoryPause {
		return false
	}
	m.looked = time.Now()
	return true
}

func (m *memory) of(addr string) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used[addr]
}

// lookAtMemory sees how full Redis is, every master of a cluster, and says so when it gets nearly full. One that does not
// answer is left as it was.
func (s *Store) lookAtMemory(ctx context.Context) {
	cluster, ok := s.reads.UniversalClient.(*redis.ClusterClient)
	if !ok {
		s.lookAtNode(ctx, s.reads, s.nodes.only.addr)
		return
	}
	_ = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		s.lookAtNode(ctx, master, master.Options().Addr)
		return nil
	})
}

func (s *Store) lookAtNode(ctx context.Context, c redis.Cmdable, addr string) {
	info, err := redisclient.Info(ctx, c, "memory")
	if err != nil {
		s.log.Debug("could not see how full Redis is", "node", addr, "error", err)
		return
	}
	used, _ := strconv.ParseFloat(info["used_memory"], 64) // 0 where it does not say
	most, _ := strconv.ParseFloat(info["maxmemory"], 64)
	if most > 0 {
		s.fills(addr, used/most)
	} else {
		s.fills(addr, 0)
	}
}

// fills takes note of how full a node is.
func (s *Store) fills(addr string, used float64) {
	m := &s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used == nil {
		m.used, m.high = map[string]float64{}, map[string]bool{}
	}
	m.used[addr] = used
	percent := int(used * 100)
	switch {
	case used >= memoryHigh && !m.high[addr]:
		m.high[addr] = true
		s.log.Warn("Redis is nearly full, and will refuse to charge when it is: raise its maxmemory, or lower max_unknown_keys, max_models or hold_ttl of policies",
			"node", addr, "used_percent", percent)
	case used < memoryLow && m.high[addr]:
		m.high[addr] = false
		s.log.Info("Redis has room again", "node", addr, "used_percent", percent)
	}
}
