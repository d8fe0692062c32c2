package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestFullRedisIsTuned: a Redis without room refuses to charge, and still lets limits be tuned and usage be forgotten.
func TestFullRedisIsTuned(t *testing.T) {
	server, ctx := redistest.Start(t), t.Context()
	s := open(t, server, Options{Timeout: patience})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	if _, err := c.PutEntry(ctx, registered(1), []byte(`{}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	server.Do("config", "set", "maxmemory", "1")
	if _, err := c.Acquire(ctx, limiter.Ask{Provider: "p", Key: "sk-1"}); !errors.Is(err, limiter.ErrStoreUnavailable) {
		t.Errorf("an ask: %v", err)
	}
	_, err := c.PatchEntry(ctx, registered(1), []byte(`{"label":"x"}`), limiter.Edit{})
	_, rotated := c.RotateKey(ctx, "p", registered(1).Name, registered(2).Name, time.Hour, limiter.Edit{})
	_, _, reset := c.Reset(ctx, limiter.ResetQuery{Provider: "p"}, limiter.Edit{})
	_, patched := c.PatchPolicy(ctx, "p", []byte(`{"limits":{"month":{"amount":20}}}`), limiter.Edit{})
	if err := errors.Join(err, rotated, reset, patched); err != nil {
		t.Error(err)
	}
}

// TestFirstAsksOfAHungRedisAreBounded: what is known of nothing yet is not read one after the other for as long as it takes.
func TestFirstAsksOfAHungRedisAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const timeout = 100 * time.Millisecond
	s, err := Connect(redisclient.Config{URL: "redis://" + l.Addr().String()}, Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	asks := make([]limiter.Ask, 40)
	for i := range asks {
		asks[i] = limiter.Ask{Provider: fmt.Sprintf("p%d", i), Key: "sk-1"}
	}
	began := time.Now()
	for _, r := range limiter.New(s).AcquireBatch(context.Background(), asks) {
		if !errors.Is(r.Err, limiter.ErrStoreUnavailable) {
			t.Fatalf("%+v", r)
		}
	}
	if took := time.Since(began); took > 10*timeout { // one after the other they would take 40
		t.Errorf("answered after %v", took)
	}
}

// TestHistoryWhileOthersWrite: no revision that is kept is ever missing.
func TestHistoryWhileOthersWrite(t *testing.T) {
	s := open(t, redistest.Shared(t), Options{Timeout: patience})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	wg.Go(func() {
		for range limiter.HistoryLength / 2 {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.PatchPolicy(context.Background(), "p", []byte(`{}`), limiter.Edit{}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 500 {
		if r, _, err := s.History(t.Context(), "p", 2, 1); err != nil || len(r) != 1 || r[0].Revision != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

// TestEntryOfAProviderThatIsDeletedMeanwhile: nothing of it stays.
func TestEntryOfAProviderThatIsDeletedMeanwhile(t *testing.T) {
	s, ctx := open(t, redistest.Shared(t), Options{Timeout: patience}), t.Context()
	c := limiter.New(s)
	put(t, c, "p", roomy)
	between := &interrupted{Store: s, before: func() {
		if err := c.DeletePolicy(context.Background(), "p", limiter.Edit{}); err != nil {
			t.Error(err)
		}
	}}
	if _, err := limiter.New(between).PutEntry(ctx, registered(1), []byte(`{}`), limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("written to a deleted provider: %v", err)
	}
	admin := redistest.Shared(t).Client()
	defer admin.Close()
	left, err := admin.Keys(ctx, s.keys.of("p")+"*").Result()
	for _, key := range left {
		if ttl := admin.TTL(ctx, key).Val(); ttl < 0 && key != s.keys.document(limiter.DocID{Provider: "p"}) && key != s.keys.history("p") {
			t.Errorf("%s is left for ever", key)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// interrupted is a Store in which something happens before the first write.
type interrupted struct {
	limiter.Store
	before func()
}

func (i *interrupted) Swap(ctx context.Context, id limiter.DocID, prev string, next limiter.Record) (limiter.Record, error) {
	if before := i.before; before != nil {
		i.before = nil
		before()
	}
	return i.Store.Swap(ctx, id, prev, next)
}

// TestUndoOfARefusedAskLeavesOthersAlone: of two asks of one call under the same idempotency key the one could not be
// granted, and its caller has gone; the other's caller was told of its grant.
func TestUndoOfARefusedAskLeavesOthersAlone(t *testing.T) {
	s, ctx := open(t, redistest.Shared(t), Options{Timeout: patience}), t.Context()
	put(t, limiter.New(s), "p", roomy)
	doc, err := s.Load(ctx, limiter.DocID{Provider: "p"})
	if err != nil {
		t.Fatal(err)
	}
	b, id := newBatch(s.keys, "p"), "0123456789abcdef0123456789abcdef"
	for _, body := range [][]byte{nil, []byte("{}")} {
		b.add(&ask{charge: &limiter.Charge{Provider: "p", Stamps: limiter.Stamps{Policy: doc.Tag}, PermitID: "p_p_0123456789012345678901",
			NotAfter: limiter.InstantOf(time.Now().Add(time.Minute)), Once: &limiter.Once{ID: id, Ask: id, Keep: time.Minute, Body: body}}})
	}
	names := b.keys(s.keys.lane("p", "test", 0))
	if _, err := s.run(ctx, s.client, s.scripts.acquire, names, b.args(1, "")...); err != nil {
		t.Fatal(err)
	}
	if _, err := s.run(ctx, s.client, s.scripts.undo, names, b.args(1, []byte("10"))...); err != nil {
		t.Fatal(err)
	}
	if n := redistest.Shared(t).Do("exists", s.keys.once(b.of, id)); n != int64(1) {
		t.Error("the grant that was told of is forgotten")
	}
}
