package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/api/throttle"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
	"github.com/permitd/permitd/limiter/redisstore"
)

// startPatience is how long Redis is waited for: it may be starting too, or be slow.
const startPatience = 2 * time.Second

// openStore opens the store that the settings ask for. Call end when it is no longer used.
func openStore(ctx context.Context, cfg *config) (store limiter.Store, end func(), err error) {
	if cfg.redisURL == "" {
		cfg.log.Info("using the embedded in-memory store: counters and tuning are lost at exit")
		return memstore.New(memstore.Options{}), func() {}, nil
	}
	s, err := redisstore.Connect(cfg.redisURL, redisstore.Options{Prefix: cfg.redisPrefix, Logger: cfg.log})
	if err != nil {
		return nil, nil, errors.New("the Redis URL can't be used") // settings checked it
	}
	warnings, err := s.Check(ctx)
	for begin := time.Now(); errors.Is(err, limiter.ErrStoreUnavailable) && ctx.Err() == nil && time.Since(begin) < startPatience; {
		time.Sleep(startPatience / 20)
		warnings, err = s.Check(ctx)
	}
	if err != nil {
		s.Close()
		return nil, nil, fmt.Errorf("can't use this Redis (is it running, and is --redis-url right?): %w", err)
	}
	for _, w := range warnings {
		cfg.log.Warn(w)
	}
	cfg.log.Info("using Redis", "prefix", cfg.redisPrefix)
	return s, func() { s.Close() }, nil
}

// maxClients is how many clients with failed logins are told apart in memory, of about 250 bytes each.
const maxClients = 1 << 16

// openThrottle opens what failed logins are counted in, if there are tokens. Call end when it is no longer used.
func openThrottle(ctx context.Context, cfg *config) (t api.Throttle, end func(), err error) {
	if cfg.tokens == nil {
		return nil, func() {}, nil
	}
	own := memstore.New(memstore.Options{MaxCounters: maxClients})
	opened, err := throttle.New(ctx, own, throttle.Options{RedisURL: cfg.redisURL, RedisPrefix: cfg.redisPrefix, Logger: cfg.log})
	if err != nil {
		return nil, nil, fmt.Errorf("count failed logins: %w", err)
	}
	return opened, func() { opened.Close() }, nil
}
