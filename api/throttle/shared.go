package throttle

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

// shared is what all instances count in Redis.
type shared struct {
	client redis.UniversalClient
	rate   *redis_rate.Limiter
	log    *slog.Logger
	places chan struct{} // one for each call on its way
	until  atomic.Int64  // when Redis is tried again, in nanoseconds of the Unix epoch
	away   atomic.Bool
}

const (
	patience = 50 * time.Millisecond // what a refusal may be delayed
	rest     = time.Second           // that Redis is left alone for when it did not answer
	maxCalls = 16
)

func connect(c redisclient.Config, prefix string, log *slog.Logger) (*shared, error) {
	client, err := c.Connect(patience)
	if err != nil {
		return nil, err
	}
	return &shared{
		client: client,
		rate:   redis_rate.NewLimiter(under{client, cmp.Or(prefix, "permitd") + ":"}),
		log:    log,
		places: make(chan struct{}, maxCalls),
	}, nil
}

// under puts a prefix before the keys of redis_rate, which has none to set. [redis_rate.Limiter.Allow], of which alone
// use is made here, runs a script, and that is these two.
type under struct {
	redis.UniversalClient
	prefix string
}

func (u under) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return u.once(ctx, "evalsha", sha, keys, args)
}

func (u under) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return u.once(ctx, "eval", script, keys, args)
}

func (u under) once(ctx context.Context, verb, what string, keys []string, args []any) *redis.Cmd {
	line := []any{verb, what, len(keys)}
	for _, k := range keys {
		line = append(line, u.prefix+k)
	}
	return redisclient.Once(ctx, u.UniversalClient, 3, append(line, args...)...)
}

// failed notes a failure and returns the wait, 0 as well if Redis does not say.
func (s *shared) failed(ctx context.Context, client string) time.Duration {
	if time.Now().UnixNano() < s.until.Load() {
		return 0
	}
	select {
	case s.places <- struct{}{}:
	default:
		return 0 // enough wait already
	}
	answer := make(chan time.Duration, 1)
	go func() {
		defer func() { <-s.places }()
		r, err := s.rate.Allow(context.WithoutCancel(ctx), "login:"+client, redis_rate.Limit{Rate: perMinute, Burst: burst, Period: time.Minute})
		if s.note(err); err != nil {
			answer <- 0
			return
		}
		answer <- max(0, r.RetryAfter)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case wait := <-answer:
		return wait
	case <-ctx.Done():
	case <-timer.C:
		s.leaveAlone()
	}
	return 0
}

func (s *shared) leaveAlone() { s.until.Store(time.Now().Add(rest).UnixNano()) }

// note notes whether Redis answered.
func (s *shared) note(err error) {
	switch {
	case err != nil:
		s.leaveAlone()
		if s.away.CompareAndSwap(false, true) {
			s.log.Warn("Redis does not count failed logins: each instance counts its own until it does", "error", err)
		}
	case s.away.CompareAndSwap(true, false):
		s.log.Info("Redis counts failed logins again")
	}
}

// close waits for the calls on their way, and lets no more be made.
func (s *shared) close() error {
	for range maxCalls {
		s.places <- struct{}{}
	}
	return s.client.Close()
}
