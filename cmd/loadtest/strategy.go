package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The strategies: who is asked before the provider is called.
const (
	strategyPermitd   = "permitd"    // permitd
	strategyNone      = "none"       // nobody: each client calls at will
	strategySplit     = "split"      // a limiter of the replica's own, with its part of the limit
	strategyRedisRate = "redis_rate" // redis_rate, once for each limit
)

var strategies = []string{strategyPermitd, strategyNone, strategySplit, strategyRedisRate}

// checkStrategies refuses what flags can't be together.
func (c *loadFlags) checkStrategies() error {
	for i, s := range c.Strategy {
		switch {
		case !slices.Contains(strategies, s):
			return fmt.Errorf("--strategy must be of %s, not %q", strings.Join(strategies, ", "), s)
		case slices.Contains(c.Strategy[:i], s):
			return fmt.Errorf("--strategy has %s twice", s)
		}
	}
	builtIn := c.runs(strategySplit) || c.runs(strategyRedisRate)
	switch {
	case len(c.Strategy) == 0:
		return fmt.Errorf("--strategy must be of %s", strings.Join(strategies, ", "))
	case c.Replicas < 1 || c.Replicas > maxReplicas:
		return fmt.Errorf("--replicas must be from 1 to %d", maxReplicas)
	case !c.runs(strategyPermitd) && (len(c.Permitd) > 0 || c.Policies != ""):
		return errors.New("--permitd and --policies are of the strategy permitd: add it to --strategy")
	case builtIn && c.Policies != "":
		return errors.New("split and redis_rate know the built-in policy only: leave out --policies, or these strategies")
	case c.runs(strategyRedisRate) && c.RedisURL == "":
		return errors.New("the strategy redis_rate needs --redis-url, such as redis://127.0.0.1:6379")
	case !c.runs(strategyRedisRate) && c.RedisURL != "":
		return errors.New("--redis-url is of the strategy redis_rate: add it to --strategy")
	case c.Reserve != nil && !slices.Equal(c.Strategy, []string{strategyPermitd}):
		return errors.New("--reserve is of the strategy permitd alone: leave out the others")
	}
	return nil
}

const maxReplicas = 10_000

func (c *loadFlags) runs(strategy string) bool { return slices.Contains(c.Strategy, strategy) }

// verdict is the answer to an ask.
type verdict struct {
	granted   bool
	degraded  bool          // decided by a permitd that does not reach its store
	wait      time.Duration // until the call may go when granted, until the next ask when not
	by        []string      // limits that deny, or make it wait
	ofAccount bool          // they are all of the key or its account: it isn't the provider's capacity that the client waits for
	leave     func()        // gives up a place that was granted with a wait
}

// asker asks for one request whether its call may go.
type asker interface {
	ask(ctx context.Context) (verdict, error)
}

// local decides inside the replicas.
type local interface {
	asker(replica int, r *row) asker
}

// localByProvider decides by the limits of the provider that a request is for.
type localByProvider map[string]local

func (l localByProvider) asker(replica int, r *row) asker { return l[r.Provider].asker(replica, r) }

// replicaOf is the replica that the n-th request lands on: drawn at random, as a load balancer of connections does.
func replicaOf(n int, seed uint64, replicas int) int {
	return rand.New(rand.NewPCG(seed, uint64(n)^0x7265706c<<32)).IntN(replicas)
}

// rateLimit is one of the two limits of the built-in policy: amount per per, and at most burst at once.
type rateLimit struct {
	name   string
	amount int64
	per    time.Duration
	burst  int64
}

// ownLimits are those of the built-in policy, for strategies that keep them by other means.
type ownLimits struct {
	provider  rateLimit
	account   *rateLimit // nil: accounts have no limit
	accountOf func(key string) string
}

// Names of the limits of the built-in policy.
const (
	providerLimitName = "tokens"
	accountLimitName  = "account-tokens"
)
