package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
	"github.com/permitd/permitd/limiter/redisstore"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/scripts/internal/proc"
)

// bed is what contenders work with: a Redis, stores, and a coordinator for each.
type bed struct {
	redis     *proc.Redis
	plain     *redis.Client // for those that go to Redis without permitd
	shared    *redisstore.Store
	embedded  *memstore.Store
	viaRedis  *limiter.Coordinator
	viaMemory *limiter.Coordinator
	keys, ids []string // API keys and their key ids
	closers   []func() // run last to first
}

const (
	numKeys = 1000
	// patience is long: a machine that is busy with something else should make the figures worse, not end the run.
	patience = 5 * time.Second
	model    = "deepseek/deepseek-r1:free"
)

// The providers: one whose limits always have room, and one each of whose keys may ask once a month.
const (
	roomy       = "openrouter"
	roomyPolicy = `{"limits":{
		"key-rpm": {"scope":"key","kind":"rate","amount":1000000,"per":"1m","burst":1000000000000},
		"rpm": {"scope":"provider","kind":"rate","amount":1000000,"per":"1m","burst":1000000000000}}}`
	spent       = "spent"
	spentPolicy = `{"limits":{
		"key-rpm": {"scope":"key","kind":"rate","amount":1,"per":"31d","burst":1},
		"rpm": {"scope":"provider","kind":"rate","amount":1000000,"per":"1m","burst":1000000000000}}}`
)

// newBed starts what the contenders need. Close it.
func newBed(ctx context.Context) (_ *bed, err error) {
	b := &bed{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	for i := range numKeys {
		b.keys = append(b.keys, fmt.Sprintf("sk-or-v1-%064x", i))
		b.ids = append(b.ids, limiter.KeyID(b.keys[i]))
	}
	if b.redis, err = proc.StartRedis(ctx); err != nil {
		return nil, err
	}
	b.later(b.redis.Close)
	b.plain = b.redis.Client(callers)
	b.later(func() { b.plain.Close() })
	b.shared, err = redisstore.Connect(redisclient.Config{URL: "redis://" + b.redis.Addr}, redisstore.Options{Timeout: patience})
	if err != nil {
		return nil, err
	}
	b.later(func() { b.shared.Close() })
	b.embedded = memstore.New(memstore.Options{})
	b.viaRedis, b.viaMemory = limiter.New(b.shared), limiter.New(b.embedded)
	for _, c := range []*limiter.Coordinator{b.viaRedis, b.viaMemory} {
		if err := b.seed(ctx, c); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *bed) later(close func()) { b.closers = append(b.closers, close) }

// close ends what was started.
func (b *bed) close() {
	for _, f := range slices.Backward(b.closers) {
		f()
	}
}

// seed stores the policies, and uses up what the keys of the spent provider have.
func (b *bed) seed(ctx context.Context, c *limiter.Coordinator) error {
	for provider, doc := range map[string]string{roomy: roomyPolicy, spent: spentPolicy} {
		p, err := limiter.ParsePolicy([]byte(doc))
		if err != nil {
			return fmt.Errorf("policy of %s: %w", provider, err)
		}
		if _, err := c.PutPolicy(ctx, provider, p, limiter.Edit{}); err != nil {
			return fmt.Errorf("store the policy of %s: %w", provider, err)
		}
	}
	for i := range callers {
		d, err := c.Acquire(ctx, limiter.Ask{Provider: spent, Key: b.keys[i], Model: model})
		if err != nil {
			return fmt.Errorf("spend: %w", err)
		}
		if !d.Allowed {
			return fmt.Errorf("spend: key %d was spent before", i)
		}
	}
	return nil
}

// turn deals out the keys: each caller goes through all of them, from a place of its own.
type turn struct{ at int }

func newTurn(caller int) *turn { return &turn{caller * 37} }

func (t *turn) next() int {
	t.at++
	return t.at % numKeys
}

// charges are n asks for the roomy provider as a coordinator resolves them, of different keys while n allows it.
func (b *bed) charges(ctx context.Context, s limiter.Store, n int) ([]*limiter.Charge, error) {
	r, err := s.Load(ctx, limiter.DocID{Provider: roomy})
	if err != nil {
		return nil, err
	}
	shared, own := roomyTerms("rpm"), roomyTerms("key-rpm")
	all := make([]*limiter.Charge, n)
	for i := range all {
		all[i] = &limiter.Charge{
			Provider: roomy, Stamps: limiter.Stamps{Policy: r.Tag}, PermitID: "p_" + strconv.Itoa(i), NotAfter: 1 << 60,
			Lines: []limiter.Line{{Terms: own, Cost: 1}, {Terms: shared, Cost: 1}},
		}
	}
	return all, nil
}

// roomyTerms are those of a limit of a million a minute that never fills up.
func roomyTerms(name string) *limiter.Terms {
	return &limiter.Terms{
		Limit:    &limiter.Limit{Name: name, Kind: limiter.KindRate, Mode: limiter.Enforce, Amount: 1e6, Burst: 1e12},
		Counter:  "bench/" + name + "@1",
		Schedule: limiter.Schedule{Changes: []limiter.RateChange{{Rate: limiter.Rate{Units: 1e6, Per: 60_000_000}}}},
	}
}
