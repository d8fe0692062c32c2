package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// Contenders that goals are measured by.
const (
	twoRates   = "two redis_rate calls, 64 callers"
	loneScript = "lone bare EVALSHA"
)

// twoRates counts the same two limits with redis_rate, one after the other.
func (b *bed) twoRates() maker {
	rates := redis_rate.NewLimiter(b.plain)
	limit := redis_rate.Limit{Rate: 1e6, Burst: 1e12, Period: time.Minute}
	caller := func(_ context.Context, n int) (call, error) {
		keys := newTurn(n)
		return func(ctx context.Context) error {
			for _, counter := range []string{"key:" + b.ids[keys.next()], roomy} {
				r, err := rates.Allow(ctx, counter, limit)
				if err != nil {
					return err
				}
				if r.Allowed != 1 {
					return fmt.Errorf("redis_rate denied: %+v", r)
				}
			}
			return nil
		}, nil
	}
	return maker{contender{name: twoRates, per: 1, redis: true}, callers, caller}
}

// loneScript has Redis run a script that does nothing.
func (b *bed) loneScript() maker {
	caller := func(ctx context.Context, _ int) (call, error) { return b.bareScript(ctx) }
	return maker{contender{name: loneScript, per: 1, redis: true, timed: true}, 1, caller}
}

// bareScript is one round trip to the least of scripts.
func (b *bed) bareScript(ctx context.Context) (call, error) {
	script := redis.NewScript("return 1")
	if err := script.Load(ctx, b.plain).Err(); err != nil {
		return nil, err
	}
	names := []string{"bench:{bare}:1", "bench:{bare}:2"}
	return func(ctx context.Context) error {
		n, err := script.EvalSha(ctx, b.plain, names).Int()
		if err == nil && n != 1 {
			err = errors.New("the script did not answer 1")
		}
		return err
	}, nil
}
