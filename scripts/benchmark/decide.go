package main

import (
	"context"
	"fmt"

	"github.com/permitd/permitd/limiter"
)

// callers are how many callers there are where a goal speaks of many; manyCallers are more.
const (
	callers     = 64
	manyCallers = 256
)

// Contenders that goals are about.
const (
	memoryDecide = "embedded decision"
	decide64     = "decide, 64 callers"
	decide256    = "decide, 256 callers"
	acquire64    = "acquire, 64 callers"
	acquire256   = "acquire, 256 callers"
	loneDecide   = "lone decide"
)

// deciding are the contenders that decide in this process: a store alone, and with a coordinator before it.
func (b *bed) deciding() []maker {
	all := []maker{b.decides(memoryDecide, b.embedded, 1, 1)}
	for _, size := range []int{1, 16, 64, 128} {
		all = append(all, b.decides(fmt.Sprintf("script, batch of %d", size), b.shared, 1, size))
	}
	lone := b.decides(loneDecide, b.shared, 1, 1)
	lone.timed = true
	return append(all,
		lone,
		b.loneScript(),
		b.twoRates(),
		b.decides(decide64, b.shared, callers, 1),
		b.acquires(acquire64, callers),
		b.decides(decide256, b.shared, manyCallers, 1),
		b.acquires(acquire256, manyCallers),
	)
}

// decides asks a store for batches of decisions.
func (b *bed) decides(name string, s limiter.Store, callers, size int) maker {
	caller := func(ctx context.Context, n int) (call, error) {
		charges, err := b.charges(ctx, s, size)
		if err != nil {
			return nil, err
		}
		keys := newTurn(n)
		return func(ctx context.Context) error {
			for _, c := range charges {
				c.KeyID = b.ids[keys.next()]
				c.Lines[0].Subject = c.KeyID
			}
			s.Decide(ctx, charges)
			for _, c := range charges {
				if c.Outcome.Verdict != limiter.Granted {
					return fmt.Errorf("not granted: %+v", c.Outcome)
				}
			}
			return nil
		}, nil
	}
	c := contender{name: name, per: size, redis: s == limiter.Store(b.shared)}
	return maker{c, callers, caller}
}

// acquires asks a coordinator over Redis for permits, one at a time.
func (b *bed) acquires(name string, callers int) maker {
	caller := func(_ context.Context, n int) (call, error) {
		keys := newTurn(n)
		return func(ctx context.Context) error {
			d, err := b.viaRedis.Acquire(ctx, limiter.Ask{Provider: roomy, Key: b.keys[keys.next()], Model: model})
			if err == nil && !d.Allowed {
				err = fmt.Errorf("denied: %+v", d)
			}
			return err
		}, nil
	}
	return maker{contender{name: name, per: 1, redis: true}, callers, caller}
}
