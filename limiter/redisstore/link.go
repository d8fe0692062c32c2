package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

// links are the ways to Redis, each with connections of its own, so that no call waits behind others that take longer.
type links struct {
	client *link // lanes: decisions, and what takes them back. How these end tells whether a node is down.
	side   *link // holds, and probes: as quick as decisions
	docs   *link // one document or name at a time, read or written: as large as a policy may be
	reads  *link // pieces of histories and lists
}

// unhurried is how long a call may take that is no part of a decision.
const unhurried = 5 * time.Second

func newLinks(c redisclient.Config, timeout time.Duration) (l links, err error) {
	for _, one := range []struct {
		of      **link
		timeout time.Duration
	}{{&l.client, timeout}, {&l.side, timeout}, {&l.docs, max(unhurried, timeout)}, {&l.reads, max(unhurried, timeout)}} {
		client, err := c.Connect(one.timeout)
		if err != nil {
			return links{}, errors.Join(err, l.close())
		}
		*one.of = &link{UniversalClient: client, timeout: one.timeout, taken: map[string]int{}}
	}
	return l, nil
}

func (l links) all() []*link { return []*link{l.client, l.side, l.docs, l.reads} }

func (l links) close() error {
	var errs []error
	for _, one := range l.all() {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	return errors.Join(errs...)
}

// link is one way to Redis.
type link struct {
	redis.UniversalClient
	timeout time.Duration // of a reply, and of the tries to get one

	mu    sync.Mutex
	taken map[string]int // provider → its calls on their way beside the lanes
	calls int            // of all providers
}

// Calls beside the lanes that may be on their way on one link: of one provider, so that its slow ones keep no other's from
// being made, and of all, however many names clients make up.
const (
	maxAside    = 512
	maxAsideAll = 16 * maxAside
)

// enter takes a place for a call about a provider.
func (l *link) enter(provider string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken[provider] >= maxAside || l.calls >= maxAsideAll {
		return fmt.Errorf("%w: %d calls wait for Redis", limiter.ErrOverloaded, l.taken[provider])
	}
	l.taken[provider]++
	l.calls++
	return nil
}

// leave gives it back.
func (l *link) leave(provider string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	if l.taken[provider]--; l.taken[provider] == 0 {
		delete(l.taken, provider)
	}
}

// aside makes a call about a provider ("": about all) beside the lanes, which its caller leaves when the context ends.
func (l *link) aside(ctx context.Context, provider string, call func(context.Context) (any, error)) (any, error) {
	if err := l.enter(provider); err != nil {
		return nil, err
	}
	type answer struct {
		result any
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		result, err := call(context.WithoutCancel(ctx))
		l.leave(provider)
		done <- answer{result, err}
	}()
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// patient returns a context for a write, which ends at the deadline of ctx, but not when a client leaves: what is written is
// seen through.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	stay := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		late := fmt.Errorf("%w: it did not say in time what it wrote", limiter.ErrStoreUnavailable)
		return context.WithDeadlineCause(stay, deadline, late)
	}
	return stay, func() {}
}

// tries is how often a script that may run twice is sent to get a reply.
const tries = 3

// command has one command run beside the lanes, whose key is the argument at a place, counted from the verb.
func (s *Store) command(ctx context.Context, l *link, provider string, place int, line ...any) (any, error) {
	return l.aside(ctx, provider, func(ctx context.Context) (any, error) { return s.send(ctx, l, place, line...) })
}

// again has a script run beside the lanes that may run twice. It is sent until there is a reply, unless that has taken too long.
func (s *Store) again(ctx context.Context, l *link, provider string, of script, keys []string, args ...any) (any, error) {
	return l.aside(ctx, provider, func(ctx context.Context) (result any, err error) {
		begin := time.Now()
		for range tries {
			result, err = s.run(ctx, l, of, keys, args...)
			if err == nil || !mayHaveRun(err) || time.Since(begin) > l.timeout {
				break
			}
		}
		return result, err
	})
}
