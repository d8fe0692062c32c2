package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// site is a Redis, of one process or many, and what will happen to it.
type site struct {
	args      []string // by which permitd finds it
	providers [numProviders]string
	fault     fault
	absent    bool // the fault has begun
	spared    bool // the last provider is elsewhere
	closers   []func()
}

func newSite() *site {
	return &site{providers: [numProviders]string{"shared", "denying", "allowing", "aside"}}
}

func (s *site) later(close func()) { s.closers = append(s.closers, close) }

func (s *site) close() {
	for _, f := range slices.Backward(s.closers) {
		f()
	}
}

// affected reports whether a provider feels the fault.
func (s *site) affected(provider int) bool { return !s.spared || provider != aside }

// opener makes a site. What it began is closed with it, also after an error.
type opener func(context.Context, *site) error

// one is a single Redis.
func one(f func(*proc.Redis) fault) opener {
	return func(ctx context.Context, s *site) error {
		r, err := proc.StartRedis(ctx)
		if err != nil {
			return err
		}
		s.later(r.Close)
		s.args, s.fault = []string{"--redis-url", "redis://" + r.Addr}, f(r)
		return nil
	}
}

// distant is a Redis behind a proxy.
func distant(f func(*proc.Redis, *proxy) fault) opener {
	return func(ctx context.Context, s *site) error {
		r, err := proc.StartRedis(ctx)
		if err != nil {
			return err
		}
		s.later(r.Close)
		p, err := newProxy(r.Addr)
		if err != nil {
			return err
		}
		s.later(p.close)
		s.args, s.fault = []string{"--redis-url", "redis://" + p.addr()}, f(r, p)
		return nil
	}
}

// missing is a Redis that is not there when instances start.
func missing(_ context.Context, s *site) error {
	r, err := proc.NewRedis()
	if err != nil {
		return err
	}
	s.later(r.Close)
	s.args, s.fault, s.absent = []string{"--redis-url", "redis://" + r.Addr, "--min-instances", fmt.Sprint(numInstances)}, absent(r), true
	return nil
}

// clocked is a Redis whose clock is set.
func clocked(ctx context.Context, s *site) error {
	r, err := proc.NewRedis()
	if err != nil {
		return err
	}
	s.later(r.Close)
	set, err := fakeClock(ctx, r)
	if err != nil {
		return err
	}
	s.args, s.fault = []string{"--redis-url", "redis://" + r.Addr}, jump(set)
	return r.Run(ctx)
}

// replicated is a primary with a replica and a Sentinel; the primary is killed.
func replicated(ctx context.Context, s *site) error {
	var all [3]*proc.Redis
	for i, settings := range [][]string{nil, nil, {"--sentinel"}} {
		if i == 1 {
			settings = []string{"--replicaof", "127.0.0.1 " + fmt.Sprint(all[0].Port)}
		}
		r, err := proc.StartRedis(ctx, settings...)
		if err != nil {
			return err
		}
		s.later(r.Close)
		all[i] = r
	}
	primary, replica, sentinel := all[0], all[1], all[2]
	for _, args := range [][]any{
		{"sentinel", "monitor", "main", "127.0.0.1", primary.Port, 1},
		{"sentinel", "set", "main", "down-after-milliseconds", 500, "failover-timeout", 1000},
	} {
		if err := sentinel.Admin.Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("set up Sentinel: %w", err)
		}
	}
	is := func(r *proc.Redis, section, field, want string) func() bool {
		return func() bool { info, _ := r.Info(ctx, section); return info[field] == want }
	}
	err := errors.Join(
		until("the replica follows", is(replica, "replication", "master_link_status", "up")),
		until("Sentinel knows the replica", func() bool {
			known, err := sentinel.Admin.Do(ctx, "sentinel", "replicas", "main").Slice()
			return err == nil && len(known) == 1
		}))
	s.args = []string{"--redis-mode", "sentinel", "--redis-url", "redis://" + sentinel.Addr + "?master_name=main"}
	s.fault = emptied(primary)
	s.fault.name, s.fault.spares, s.fault.brief = "failover", true, true
	s.fault.end = func(context.Context) error {
		return until("the replica is promoted", is(replica, "replication", "role", "master"))
	}
	return err
}

// until polls for a condition.
func until(what string, holds func() bool) error {
	for begin := time.Now(); time.Since(begin) < 15*time.Second; time.Sleep(10 * time.Millisecond) {
		if holds() {
			return nil
		}
	}
	return fmt.Errorf("waited 15 s in vain until %s", what)
}

// sharded is a cluster of three masters, of which the first is killed. The last provider is on another.
func sharded(ctx context.Context, s *site) error {
	const slots = 16384
	var all [3]*proc.Redis
	for i := range all {
		bus, err := proc.FreePort()
		if err != nil {
			return err
		}
		r, err := proc.StartRedis(ctx, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus),
			"--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1000")
		if err != nil {
			return err
		}
		s.later(r.Close)
		if all[i] = r; i > 0 {
			err = all[0].Admin.Do(ctx, "cluster", "meet", "127.0.0.1", r.Port, bus).Err()
		}
		err = errors.Join(err, r.Admin.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err())
		if err != nil {
			return fmt.Errorf("set up the cluster: %w", err)
		}
	}
	for _, r := range all {
		if err := until("the cluster is whole", func() bool {
			nodes, err := all[0].Admin.ClusterShards(ctx).Result()
			info, err2 := r.Admin.ClusterInfo(ctx).Result()
			return errors.Join(err, err2) == nil && len(nodes) == len(all) && clusterOK(info)
		}); err != nil {
			return err
		}
	}
	for i := range s.providers {
		shard := 0
		if i == aside {
			shard = 1
		}
		name, err := nameOn(ctx, all[0].Admin, s.providers[i], shard*slots/3, (shard+1)*slots/3)
		if err != nil {
			return err
		}
		s.providers[i] = name
	}
	s.args = []string{"--redis-mode", "cluster", "--redis-url", "redis://" + all[0].Addr + "?addr=" + all[1].Addr + "&addr=" + all[2].Addr}
	s.fault, s.spared = emptied(all[0]), true
	s.fault.name = "shard"
	run := s.fault.end
	s.fault.end = func(ctx context.Context) error {
		return errors.Join(run(ctx), until("the cluster is whole again", func() bool {
			info, err := all[0].Admin.ClusterInfo(ctx).Result()
			return err == nil && clusterOK(info)
		}))
	}
	return nil
}

func clusterOK(info string) bool {
	return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384")
}

// nameOn is a name for a provider whose keys are in that range of slots.
func nameOn(ctx context.Context, c *redis.Client, name string, from, to int) (string, error) {
	for n := range 1000 {
		found := fmt.Sprintf("%s-%d", name, n)
		slot, err := c.ClusterKeySlot(ctx, "{"+found+"}").Result()
		if err != nil {
			return "", err
		}
		if int(slot) >= from && int(slot) < to {
			return found, nil
		}
	}
	return "", fmt.Errorf("no name is in slots %d to %d", from, to)
}
