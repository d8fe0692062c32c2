package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/api/throttle"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
	"github.com/permitd/permitd/limiter/redisstore"
)

// startPatience is how long Redis is waited for at start: it may be starting too, or be slow.
const startPatience = 2 * time.Second

// openStore opens the store that the settings ask for, which need not answer yet. Call end when it is no longer used.
func openStore(cfg *config, memory *limiter.Memory) (store limiter.Store, end func(), err error) {
	if cfg.redis.URL == "" {
		cfg.log.Info("using the embedded in-memory store: counters and tuning are lost at exit")
		return memstore.New(memstore.Options{Memory: memory}), func() {}, nil
	}
	s, err := redisstore.Connect(cfg.redis, redisstore.Options{Prefix: cfg.redisPrefix, Logger: cfg.log})
	if err != nil {
		return nil, nil, errors.New("the Redis URL can't be used") // settings checked it
	}
	return s, func() { s.Close() }, nil
}

// standIn makes what decides while Redis is away.
func standIn(memory *limiter.Memory) func(clock func() limiter.Instant) limiter.Store {
	return func(clock func() limiter.Instant) limiter.Store {
		return memstore.New(memstore.Options{Clock: clock, Memory: memory})
	}
}

// joinAtStart has the store take part. Where Redis does not answer, permits are answered without it, by the file of policies,
// until it is joined later. One that can't be used as the settings have it is an error.
func joinAtStart(ctx context.Context, cfg *config, store limiter.Store, c *limiter.Coordinator) (joined bool, err error) {
	err = join(ctx, cfg, store, c)
	for begin := time.Now(); away(err) && ctx.Err() == nil && time.Since(begin) < startPatience; {
		time.Sleep(startPatience / 20)
		err = join(ctx, cfg, store, c)
	}
	if err == nil || ctx.Err() != nil {
		return err == nil, nil
	}
	if cause := cmp.Or(cfg.redis.Diagnose(ctx), refusal(err)); cause != nil && ctx.Err() == nil {
		return false, fmt.Errorf("can't use this Redis (is --redis-url right?): %w", cause)
	}
	cfg.log.Warn("Redis does not answer: starting without it; permits are answered by the file of policies, as on_store_failure says, until it does", "error", err)
	if !cfg.instancesKnown {
		cfg.log.Warn("without --min-instances each instance grants the whole limit until Redis answers: set it to how many instances you run")
	}
	for _, docs := range cfg.policies.Providers {
		if err := c.Assume(docs); err != nil {
			return false, err
		}
	}
	return false, nil
}

// refusal is the error itself, unless it is that Redis does not answer.
func refusal(err error) error {
	if away(err) {
		return nil
	}
	return err
}

// joinPause is how often a Redis is tried that did not answer at start.
const joinPause = 250 * time.Millisecond

// joinLater tries until Redis answers. It returns false when ctx ends before.
func joinLater(ctx context.Context, cfg *config, store limiter.Store, c *limiter.Coordinator) bool {
	for said := ""; ; {
		err := join(ctx, cfg, store, c)
		if err == nil {
			return true
		}
		if !away(err) && err.Error() != said {
			said = err.Error()
			cfg.log.Error("can't use this Redis; it is tried again and again", "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(joinPause):
		}
	}
}

// join checks Redis and stores policies of providers that it does not know.
func join(ctx context.Context, cfg *config, store limiter.Store, c *limiter.Coordinator) error {
	shared, ok := store.(*redisstore.Store)
	if !ok {
		return seed(ctx, c, cfg.policies, cfg.log)
	}
	warnings, err := shared.Check(ctx)
	if err != nil {
		return err
	}
	if err := seed(ctx, c, cfg.policies, cfg.log); err != nil {
		return err
	}
	for _, w := range warnings {
		cfg.log.Warn(w)
	}
	cfg.log.Info("using Redis", "mode", cfg.redis.Mode, "prefix", cfg.redisPrefix)
	return nil
}

// away reports whether an error is that Redis does not answer, or not yet; and not that it will not have us.
func away(err error) bool {
	var said redis.Error
	if errors.As(err, &said) {
		for _, refusal := range []string{"WRONGPASS", "NOAUTH", "NOPERM", "ERR"} {
			if strings.HasPrefix(said.Error(), refusal) {
				return false
			}
		}
	}
	return errors.Is(err, limiter.ErrStoreUnavailable)
}

// clientsMemory bounds what clients with failed logins are told apart in: some 65,000 of them. It is none of --max-memory, so
// that permits and failed logins don't keep each other out.
const clientsMemory = 24 << 20

// openThrottle opens what failed logins are counted in, if there are tokens. Call end when it is no longer used.
func openThrottle(ctx context.Context, cfg *config) (t api.Throttle, end func(), err error) {
	if cfg.tokens == nil {
		return nil, func() {}, nil
	}
	own := memstore.New(memstore.Options{Memory: limiter.NewMemory(clientsMemory)})
	opened, err := throttle.New(ctx, own, throttle.Options{Redis: cfg.redis, RedisPrefix: cfg.redisPrefix, Logger: cfg.log})
	if err != nil {
		return nil, nil, fmt.Errorf("count failed logins: %w", err)
	}
	return opened, func() { opened.Close() }, nil
}
