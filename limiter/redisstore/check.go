package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

// Check asks Redis, every master of a cluster, whether it is fit to hold limits. The error says why it is not, or that
// it did not answer; warnings are what an operator should know.
func (s *Store) Check(ctx context.Context) (warnings []string, err error) {
	cluster, ok := s.side.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return s.check(ctx, s.side, "standalone")
	}
	var mu sync.Mutex
	var unfit error
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		addr := master.Options().Addr
		of, err := s.check(ctx, master, "cluster")
		mu.Lock()
		defer mu.Unlock()
		for _, w := range of {
			warnings = append(warnings, addr+": "+w)
		}
		if err != nil {
			unfit = fmt.Errorf("%s: %w", addr, err)
		}
		return nil
	})
	if err != nil { // nobody says who the masters are
		return nil, s.failed(ctx, err)
	}
	slices.Sort(warnings)
	return warnings, unfit
}

// check asks one server, which should be set up in a certain way.
func (s *Store) check(ctx context.Context, c redis.Cmdable, setup string) (warnings []string, err error) {
	info, err := redisclient.Info(ctx, c)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return judge(info, setup)
}

// judge reads what INFO says.
func judge(info map[string]string, setup string) (warnings []string, err error) {
	if err := redisclient.CheckSetup(info, setup); err != nil {
		return nil, err
	}
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return nil, fmt.Errorf("it is version %q: permitd needs 7.0 or later, whose scripts can say what they must be refused for", version)
	}
	if info["role"] != "master" {
		return nil, fmt.Errorf("it is a %s: give the address of the primary, permitd writes", info["role"])
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && policy != "noeviction" {
		warnings = append(warnings, fmt.Sprintf("Redis may evict counters when memory is short (maxmemory-policy is %s): limits then admit more than they should; set it to noeviction", policy))
	}
	if info["aof_enabled"] == "0" {
		warnings = append(warnings, "Redis keeps no append-only file: usage and tuning since its last snapshot are lost when it restarts; set appendonly to yes")
	}
	return warnings, nil
}
