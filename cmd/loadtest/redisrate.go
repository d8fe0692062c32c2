package main

import (
	"context"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// redisRate keeps the limits in Redis by redis_rate, which decides one limit a call.
//
// The limit of the account comes first, so that one with too much to do does not charge the provider's limit with calls that
// it can't make. When the provider's then denies, what the account was charged stays, and only the provider's is asked again.
type redisRate struct {
	limits   ownLimits
	cost     costRule
	prefix   string // of the names in Redis, of this run alone
	replicas []*redis.Client
}

// newRedisRate connects each replica to the Redis at url, until stop is called.
func newRedisRate(ctx context.Context, url string, replicas int, limits ownLimits, cost costRule, runID string) (s *redisRate, stop func(), err error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, fmt.Errorf("--redis-url must be like redis://127.0.0.1:6379: %w", err)
	}
	s = &redisRate{limits: limits, cost: cost, prefix: "loadtest:" + runID + ":"}
	stop = func() {
		for _, r := range s.replicas {
			_ = r.Close() // nothing is left to be said
		}
	}
	for range replicas {
		o := *options
		s.replicas = append(s.replicas, redis.NewClient(&o))
	}
	if err := s.replicas[0].Ping(ctx).Err(); err != nil {
		stop()
		return nil, nil, fmt.Errorf("no Redis answers at --redis-url: %w; start one, or leave redis_rate out of --strategy", err)
	}
	return s, stop, nil
}

func (s *redisRate) asker(replica int, r *row) asker {
	return &redisRateAsker{redisRate: s, counter: redis_rate.NewLimiter(s.replicas[replica]), row: r}
}

type redisRateAsker struct {
	*redisRate
	counter    *redis_rate.Limiter
	row        *row
	accountHas bool // the account's limit has let the call through, and the provider's not yet
}

func (a *redisRateAsker) ask(ctx context.Context) (verdict, error) {
	if account := a.limits.account; account != nil && !a.accountHas {
		wait, err := a.allow(ctx, "account:"+a.limits.accountOf(a.row.Key), *account)
		if err != nil || wait >= 0 {
			return verdict{wait: wait, by: []string{account.name}, ofAccount: true}, err
		}
		a.accountHas = true
	}
	wait, err := a.allow(ctx, "provider", a.limits.provider)
	if err != nil || wait >= 0 {
		return verdict{wait: wait, by: []string{a.limits.provider.name}}, err
	}
	a.accountHas = false // should the provider refuse the call, both are asked again, as permitd is
	return verdict{granted: true}, nil
}

// allow charges a limit; a wait of -1 is yes.
func (a *redisRateAsker) allow(ctx context.Context, name string, l rateLimit) (wait time.Duration, err error) {
	n := int(a.cost.of(a.row))
	res, err := a.counter.AllowN(ctx, a.prefix+name, redis_rate.Limit{Rate: int(l.amount), Burst: int(l.burst), Period: l.per}, n)
	switch {
	case err != nil:
		return 0, &callError{"redis", 0, err}
	case res.Allowed < n:
		return max(0, res.RetryAfter), nil
	}
	return -1, nil
}

// redisVersion is what the Redis at url says it is; "" when it does not say.
func redisVersion(ctx context.Context, url string) string {
	options, err := redis.ParseURL(url)
	if err != nil {
		return ""
	}
	client := redis.NewClient(options)
	defer client.Close()
	info, err := client.InfoMap(ctx, "server").Result()
	if err != nil {
		return ""
	}
	return info["Server"]["redis_version"]
}
