package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

// Options of a [Store]; the zero value is ready for use.
type Options struct {
	// Prefix is the first part of every key. Default: "permitd".
	Prefix string
	// Timeout is how long a decision may take, waiting included; after that it is [limiter.ErrStoreUnavailable]. (Of more
	// than 128 at once it is so much for each 128, up to 8 times.) A reply that takes longer is given up. An ask that takes
	// several decisions has a twentieth more for all of them. Default: 80 ms.
	Timeout time.Duration
	// Logger is told of lost replies. nil logs nothing.
	Logger *slog.Logger

	clock     string // Lua, in place of lua/clock.lua
	noDenials bool   // every ask goes to Redis
}

// Store is a [limiter.Store] in Redis. Close it when it is no longer used.
type Store struct {
	links
	nodes    *nodes
	keys     keys
	timeout  time.Duration
	log      *slog.Logger
	scripts  scripts
	instance string // names this store's lanes
	denials  *denials
	memory   memory

	queues  sync.Map // provider → *queue
	running sync.WaitGroup
	life    context.Context // no more asks are sent
	end     context.CancelFunc
	closing context.Context // and nothing is taken back any more
	stop    context.CancelFunc
}

var _ limiter.Store = (*Store)(nil)

// Connect is a store in a Redis. It does not wait for that to answer; [Store.Check] does.
func Connect(c redisclient.Config, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := c.Check(); err != nil {
		return nil, err
	}
	l, err := newLinks(c, o.Timeout)
	if err != nil {
		return nil, err
	}
	return newStore(l, c.Name(), o), nil
}

// maxCalls is how many calls a batch may take the time of.
const maxCalls = 8

func (o Options) withDefaults() Options {
	o.Prefix = cmp.Or(o.Prefix, "permitd")
	o.Timeout = cmp.Or(o.Timeout, 80*time.Millisecond)
	o.clock = cmp.Or(o.clock, clockSource)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func newStore(l links, name string, o Options) *Store {
	s := &Store{
		links:    l,
		keys:     keys{o.Prefix},
		timeout:  o.Timeout,
		log:      o.Logger,
		scripts:  newScripts(o.clock),
		instance: rand.Text(),
	}
	if !o.noDenials {
		s.denials = newDenials()
	}
	s.nodes = newNodes(s, name)
	s.life, s.end = context.WithCancel(context.Background())
	s.closing, s.stop = context.WithCancel(context.Background())
	return s
}

// Close stops the store and waits for what is on its way. Decisions asked for later are [limiter.ErrStoreUnavailable].
func (s *Store) Close() error {
	s.end()
	grace := time.AfterFunc(undoGrace, s.stop)
	defer grace.Stop()
	s.running.Wait()
	s.stop()
	s.nodes.end()
	return s.links.close()
}

// Patience implements [limiter.Store].
func (s *Store) Patience() time.Duration { return s.timeout + s.timeout/20 }

// Decide implements [limiter.Store].
func (s *Store) Decide(ctx context.Context, charges []*limiter.Charge) {
	if err := context.Cause(ctx); err != nil {
		fail(charges, err)
		return
	}
	if s.life.Err() != nil {
		fail(charges, unavailable(s.life.Err()))
		return
	}
	k := &call{done: make(chan struct{})}
	asks := make([]ask, 0, len(charges))
	for _, c := range charges {
		c.Outcome = limiter.Outcome{}
		if s.denials == nil || !s.denials.deny(c, uptime()) {
			asks = append(asks, ask{call: k, charge: c, lines: len(c.Lines)})
		}
	}
	if len(asks) == 0 {
		return
	}
	k.open = len(asks)
	for rest := asks; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].charge.Provider == rest[0].charge.Provider {
			n++
		}
		s.put(rest[:n])
		rest = rest[n:]
	}
	timeout := s.timeout * time.Duration(min(1+len(asks)/maxAsks, maxCalls)) // a batch of many takes several calls
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-k.done:
	case <-ctx.Done():
		k.leave(charges, context.Cause(ctx))
	case <-timer.C:
		k.leave(charges, fmt.Errorf("%w: no answer within %v", limiter.ErrStoreUnavailable, timeout))
	}
}

func fail(charges []*limiter.Charge, err error) {
	for _, c := range charges {
		c.Outcome = limiter.Outcome{Err: err}
	}
}

// put queues asks for one provider.
func (s *Store) put(asks []ask) {
	provider := asks[0].charge.Provider
	q, ok := s.queues.Load(provider)
	if !ok {
		q, _ = s.queues.LoadOrStore(provider, newQueue(s, provider))
	}
	n, err := q.(*queue).put(asks)
	for i := range asks[n:] {
		asks[n+i].fail(err)
	}
}

// all are the queues that there are.
func (s *Store) all() iter.Seq[*queue] {
	return func(yield func(*queue) bool) {
		s.queues.Range(func(_, q any) bool { return yield(q.(*queue)) })
	}
}

// failed is the context's error if it has ended, else that Redis failed.
func (s *Store) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, limiter.ErrOverloaded):
		return err
	}
	return unavailable(err)
}
