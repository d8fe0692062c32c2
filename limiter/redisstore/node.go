package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	maxFailures = 3                      // in a row, after which a node is taken to be down
	probeEvery  = 200 * time.Millisecond // of a node that is down
	probeLife   = time.Second            // of what a probe writes
)

// errDown is why nothing was sent to a node.
var errDown = errors.New("taken to be down")

// node is a Redis that answers or does not: the one there is, the primary that sentinels name, or a master of a cluster.
//
// When decisions or probes have failed a few times in a row it is down: whoever wants something of it is refused at once, and
// nothing is sent but a probe now and then, until one is answered.
type node struct {
	addr    string
	nodes   *nodes
	breaker *gobreaker.TwoStepCircuitBreaker[any]

	cause atomic.Pointer[outage] // the last
	mu    sync.Mutex
	up    chan struct{} // of a node that is down: closed when it is no longer; else nil
	down  atomic.Bool   // whether there is one

	doubted atomic.Bool // it is being found out whether it is down
}

// outage is a call that showed that a node is of no use.
type outage struct {
	key string
	err error
}

func newNode(ns *nodes, addr string) *node {
	n := &node{addr: addr, nodes: ns}
	n.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:      probeEvery / 2, // by then a probe may pass
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= maxFailures },
		IsSuccessful: func(err error) bool { return !isOutage(err) },
		IsExcluded:   isOurs,
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case from == gobreaker.StateClosed:
				n.fall()
			case to == gobreaker.StateClosed:
				n.rise()
			}
		},
	})
	return n
}

// do makes a decision about a key, unless the node is down. How it ends tells whether it is.
func (n *node) do(ctx context.Context, key string, call func() (any, error)) (any, error) {
	if n.down.Load() {
		return nil, n.refusal()
	}
	return n.try(ctx, key, call)
}

// beside makes a call that is no decision, unless the node is down. Such a call may take long or fail of its own accord, so
// that the node is probed where it does.
func (n *node) beside(_ context.Context, key string, call func() (any, error)) (any, error) {
	if n.down.Load() {
		return nil, n.refusal()
	}
	slow := time.AfterFunc(n.nodes.store.timeout, func() { n.doubt(key) })
	defer slow.Stop()
	result, err := call()
	if isOutage(err) {
		n.doubt(key)
	}
	return result, err
}

// doubt probes the node until it answers, or is down.
func (n *node) doubt(key string) {
	if n.doubted.CompareAndSwap(false, true) {
		n.nodes.watch(func(ctx context.Context) {
			defer n.doubted.Store(false)
			for range maxFailures {
				if n.down.Load() || !isOutage(n.probe(ctx, key)) {
					return
				}
			}
		})
	}
}

// probe has the breaker see whether the node answers.
func (n *node) probe(ctx context.Context, key string) error {
	_, err := n.try(ctx, key, func() (any, error) { return n.nodes.store.probe(ctx, key) })
	return err
}

// try makes a call and takes note of how it ended.
func (n *node) try(ctx context.Context, key string, call func() (any, error)) (any, error) {
	done, err := n.breaker.Allow()
	if err != nil {
		return nil, n.refusal()
	}
	result, err := call()
	if isOutage(err) {
		n.cause.Store(&outage{key, err})
		n.nodes.reload(ctx)
	}
	done(err)
	return result, err
}

// refusal is what is said in place of sending anything.
func (n *node) refusal() error {
	if o := n.cause.Load(); o != nil {
		return fmt.Errorf("%w: %w", errDown, o.err)
	}
	return errDown
}

// fall has the node be down, and looks after it until it is no longer.
func (n *node) fall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	up := make(chan struct{})
	n.up = up
	n.down.Store(true)
	n.nodes.watch(func(ctx context.Context) { n.recover(ctx, up) })
}

// rise ends that.
func (n *node) rise() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up != nil {
		n.down.Store(false)
		close(n.up)
		n.up = nil
	}
}

// back is closed when the node is no longer down; nil if it is not down.
func (n *node) back() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

// recover probes the node until it is up: until it answers, or nothing is left to be had of it.
func (n *node) recover(ctx context.Context, up <-chan struct{}) {
	since, o := time.Now(), n.cause.Load()
	log := n.nodes.store.log.With("node", n.addr)
	log.Warn("Redis is down: what needs it is refused at once until it answers", "cause", o.err)
	n.nodes.refuse(n)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-up:
			log.Info("Redis is up again", "after", took(since))
			return
		case <-tick.C:
		}
		if n.nodes.moved(ctx, n, o.key) {
			log.Info("Redis is not needed any more: another node has its keys", "after", took(since))
			n.rise()
			return
		}
		_ = n.probe(ctx, o.key)
	}
}

func took(since time.Time) slog.Value {
	return slog.DurationValue(time.Since(since).Round(time.Millisecond))
}
