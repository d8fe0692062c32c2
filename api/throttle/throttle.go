// Package throttle makes clients wait who present tokens that permitd does not know: 10 may fail at once, then one every
// 6 s. It is permitd's api.Throttle.
//
// Failures are counted twice. In memory, where nothing can be in the way, by package limiter like any other rate. And in
// Redis, if there is one, so that going from instance to instance gains nothing, by redis_rate, which is made for one
// limit of one key. Who is over the limit here is over it everywhere, so that Redis is not asked. While Redis is slow or
// away, what is counted here has to do.
package throttle

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

const (
	perMinute = 10
	burst     = 10
	oneMore   = time.Minute / perMinute
)

// Throttle counts failed logins. Close it when it is no longer used.
type Throttle struct {
	own    *limiter.Coordinator
	shared *shared // nil: there is no Redis
	log    *slog.Logger
}

// Options of a [Throttle]; the zero value counts in memory alone.
type Options struct {
	// Redis is where instances count together.
	Redis redisclient.Config
	// RedisPrefix is the first part of every key there. Default: "permitd".
	RedisPrefix string
	// Logger is told when Redis stops counting, and when it does so again. nil logs nothing.
	Logger *slog.Logger
}

// provider is the name of the policy that holds the limit.
const provider = "logins"

// New counts in a store that holds nothing else. That store bounds the memory; while it is full, clients that it has no
// counter of have to wait.
func New(ctx context.Context, own limiter.Store, o Options) (*Throttle, error) {
	t := &Throttle{own: limiter.New(own), log: o.Logger}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	policy, err := limiter.ParsePolicy(fmt.Appendf(nil,
		`{"limits": {"failures": {"scope": "key", "kind": "rate", "amount": %d, "per": "1m", "burst": %d}}}`, perMinute, burst))
	if err != nil {
		return nil, err
	}
	if _, err := t.own.Seed(ctx, limiter.ProviderDocs{Provider: provider, Policy: policy}); err != nil {
		return nil, err
	}
	if o.Redis.URL != "" {
		if t.shared, err = connect(o.Redis, o.RedisPrefix, t.log); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Close ends the connections to Redis.
func (t *Throttle) Close() error {
	if t.shared == nil {
		return nil
	}
	return t.shared.close()
}

// Failed notes a failed login of a client, and returns how long it has to wait before the next is looked into, 0 if it
// need not. It returns within 50 ms, whatever Redis does.
func (t *Throttle) Failed(ctx context.Context, client string) time.Duration {
	if wait := t.alone(ctx, client); wait > 0 || t.shared == nil {
		return wait
	}
	return t.shared.failed(ctx, client)
}

// alone is what this instance has counted. Who goes away before the answer is counted all the same.
func (t *Throttle) alone(ctx context.Context, client string) time.Duration {
	d, err := t.own.Acquire(context.WithoutCancel(ctx), limiter.Ask{Provider: provider, Key: client})
	if err != nil { // there is no room to count in
		return oneMore
	}
	return d.RetryAfter
}
