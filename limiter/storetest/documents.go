package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func testStale(t *testing.T, b Backend) {
	n := newBench(t, b, onePerMinute)
	ctx := context.Background()
	c := n.charge(1)
	c.Pool = "acme"
	c.Stamps.Policy = "another"
	c.Stamps.Pool = "another"
	key := limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: c.KeyID}
	stored, err := n.store.Swap(ctx, key, "", limiter.Record{Revision: 1, Tag: "k1", Body: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	n.verdict(c, limiter.Stale)
	policy, err := n.store.Load(ctx, limiter.DocID{Provider: provider})
	if err != nil {
		t.Fatal(err)
	}
	now := c.Outcome.Current
	if now.Policy == nil || now.Policy.Tag != policy.Tag || string(now.Policy.Body) != string(policy.Body) {
		t.Errorf("policy %+v, want %+v", now.Policy, policy)
	}
	if now.Key == nil || now.Key.Tag != stored.Tag || now.Key.At != n.now {
		t.Errorf("key entry %+v, want %+v", now.Key, stored)
	}
	if now.Pool == nil || now.Pool.Tag != "" {
		t.Errorf("pool entry %+v, want one that was never written", now.Pool)
	}
	c.Stamps = limiter.Stamps{Policy: policy.Tag, Key: "k1"}
	n.verdict(c, limiter.Granted)
	lines := c.Lines
	c.Lines, c.Stamps.Key = nil, ""
	n.verdict(c, limiter.Stale) // a charge without lines checks its stamps
	c.Stamps.Key = "k1"
	n.verdict(c, limiter.Granted)
	c.Lines = lines
	n.verdict(c, limiter.Denied) // the one unit of the minute was charged once
}

func testSwap(t *testing.T, b Backend) {
	store, set := b.OpenVirtual(t)
	set(start)
	ctx := context.Background()
	id := limiter.DocID{Provider: provider}
	if r, err := store.Load(ctx, id); err != nil || r.Tag != "" || r.Body != nil {
		t.Fatalf("a document that was never written: %+v, %v", r, err)
	}
	if names, err := store.Providers(ctx); err != nil || len(names) != 0 {
		t.Fatalf("providers of an empty store: %v, %v", names, err)
	}
	body := []byte(`{"limits":{}}`)
	first := limiter.Record{Revision: 1, Tag: "a", Generation: "g", Body: body,
		Tracks: map[string]limiter.Track{"l": {Born: 1, Identity: "i", Changes: []limiter.Change{{}}}}}
	got, err := store.Swap(ctx, id, "", first)
	if err != nil || got.At != start || got.Tracks["l"].Changes[0].At != start {
		t.Fatalf("after the write: %+v, %v; want it stamped with the store's time", got, err)
	}
	set(start + 7)
	if r, err := store.Swap(ctx, id, "", limiter.Record{Tag: "b", Body: body}); !errors.Is(err, limiter.ErrConflict) || r.Tag != "a" {
		t.Fatalf("creating what exists: %+v, %v", r, err)
	}
	if r, err := store.Swap(ctx, id, "x", limiter.Record{Tag: "b", Body: body}); !errors.Is(err, limiter.ErrConflict) || r.Tag != "a" {
		t.Fatalf("writing over another revision: %+v, %v", r, err)
	}
	if r, err := store.Load(ctx, id); err != nil || r.Tag != "a" || r.Generation != "g" || string(r.Body) != string(body) || r.At != start || r.Tracks["l"].Changes[0].At != start {
		t.Fatalf("loaded %+v, %v", r, err)
	}
	if r, err := store.Swap(ctx, id, "a", limiter.Record{Revision: 2, Tag: "b"}); err != nil || r.At != start+7 {
		t.Fatalf("deleting: %+v, %v", r, err)
	}
	if r, err := store.Load(ctx, id); err != nil || r.Revision != 2 || r.Body != nil {
		t.Fatalf("a deleted document: %+v, %v; want its numbering to go on", r, err)
	}
	for _, name := range []string{"zeta", "alpha"} {
		if _, err := store.Swap(ctx, limiter.DocID{Provider: name}, "", limiter.Record{Revision: 1, Tag: "t", Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := store.Providers(ctx); err != nil || !slices.Equal(names, []string{"alpha", provider, "zeta"}) {
		t.Fatalf("providers %v, %v; want those that have or had a policy, sorted", names, err)
	}
}

func testConcurrentSwap(t *testing.T, b Backend) {
	store := b.Open(t)
	c := limiter.New(store)
	p := policy(t, onePerMinute)
	const writers, edits = 8, 25
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range edits {
				if _, err := c.PutPolicy(context.Background(), provider, p, limiter.Edit{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if d, err := c.Policy(context.Background(), provider); err != nil || d.Revision != writers*edits {
		t.Fatalf("revision %d after %d writes, %v", d.Revision, writers*edits, err)
	}
}

// testNoOldRevision toggles a limit between roomy and shut. Once the write that shuts it has returned, nothing may be
// granted under the roomy revision.
func testNoOldRevision(t *testing.T, b Backend) {
	store := b.Open(t)
	ctx, cancel := context.WithCancel(context.Background())
	writer := limiter.New(store)
	roomy := policy(t, `"rpd": {"scope":"provider","kind":"quota","amount":1000000000,"per":"month"}`)
	shut := policy(t, `"rpd": {"scope":"provider","kind":"quota","amount":1,"per":"month"}`)
	put := func(p *limiter.Policy) {
		if _, err := writer.PutPolicy(context.Background(), provider, p, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	put(roomy)
	ask := func(c *limiter.Coordinator, key string) bool {
		d, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: key})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		return err == nil && d.Allowed
	}
	ask(writer, "sk-0") // uses the one that the shut revision has

	var wg sync.WaitGroup
	for i := range 4 {
		c := limiter.New(store)
		wg.Go(func() {
			for ctx.Err() == nil {
				ask(c, "sk-"+string(rune('a'+i)))
			}
		})
	}
	probe := limiter.New(store)
	deadline := time.Now().Add(time.Second)
	for i := 0; i < 200 && time.Now().Before(deadline); i++ {
		put(shut)
		before := used(t, probe)
		for range 5 {
			if ask(probe, "sk-p") {
				t.Error("granted under the revision before")
			}
		}
		if after := used(t, probe); after != before {
			t.Errorf("%d granted by others under the revision before", after-before)
		}
		put(roomy)
	}
	cancel()
	wg.Wait()
}

func used(t *testing.T, c *limiter.Coordinator) int64 {
	u, err := c.Usage(context.Background(), limiter.UsageQuery{Provider: provider})
	if err != nil {
		t.Fatal(err)
	}
	return u.Limits[0].Used
}
