package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// testDeletedProvider: what was deleted does not come back, and revisions go on.
func testDeletedProvider(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d")+`,"acct":{"scope":"pool","kind":"rate","amount":1000,"per":"10d"}`)
	n.entry(key1, `{"pool":"acme","limits":{"rpd":{"amount":500}}}`)
	if _, err := n.PutEntry(ctx, limiter.DocID{Provider: provider, Kind: limiter.PoolEntry, Name: "acme"}, []byte(`{"disabled":false}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	p := n.hold(time.Hour, requests(100))
	if err := n.DeletePolicy(ctx, provider, limiter.Edit{Tag: "other"}); !errors.Is(err, limiter.ErrConflict) {
		t.Errorf("on top of another: %v", err)
	}
	if err := n.DeletePolicy(ctx, provider, limiter.Edit{By: "ann"}); err != nil {
		t.Fatal(err)
	}
	other := limiter.New(n.store)
	for _, c := range []*limiter.Coordinator{n.Coordinator, other} {
		if _, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-1"}); !errors.Is(err, limiter.ErrUnknownProvider) {
			t.Errorf("asked: %v", err)
		}
	}
	if err := n.DeletePolicy(ctx, provider, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("deleted again: %v", err)
	}
	n.settle(p, requests(0), nil, nil)
	items, _, err := n.History(ctx, provider, 0, 10)
	if err != nil || len(items) != 2 || items[0].By != "ann" || string(items[0].Patch) != "null" {
		t.Errorf("%+v, %v", items, err)
	}
	w, err := n.PutPolicy(ctx, provider, policy(t, rate("1000", "10d")), limiter.Edit{Absent: true})
	if err != nil || w.Revision != 3 || !w.Created || w.Restarted != nil {
		t.Fatalf("%+v, %v", w, err)
	}
	n.remaining("rpd", 1000)
	if _, err := n.Entry(ctx, keyEntry(key1)); !errors.Is(err, limiter.ErrUnknownEntry) {
		t.Errorf("its entry: %v", err)
	}
	for _, kind := range []limiter.EntryKind{limiter.KeyEntry, limiter.PoolEntry} {
		if all, _, err := n.Entries(ctx, provider, kind, "", 10); err != nil || len(all) != 0 {
			t.Errorf("%s entries: %v, %v", kind, all, err)
		}
	}
	n.settle(p, nil, nil, nil)
	n.settle(p, requests(0), nil, nil)
	n.remaining("rpd", 1000)
	if _, err := n.Rollback(ctx, provider, 2, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownRevision) {
		t.Errorf("rolled back to the deletion: %v", err)
	}
	if w, err := n.Rollback(ctx, provider, 1, limiter.Edit{}); err != nil || w.Revision != 4 || len(w.Policy.Limits) != 2 {
		t.Errorf("%+v, %v", w, err)
	}
}

// testLeftEntries: entries that a deletion did not get to (it was cut off) do not count.
func testLeftEntries(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d"))
	n.entry(key1, `{"disabled":true}`)
	if _, err := n.asks("sk-1"); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Fatal(err)
	}
	left, err := n.store.Load(ctx, keyEntry(key1))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.DeletePolicy(ctx, provider, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	n.put(rate("1000", "10d"))
	if _, err := n.store.Swap(ctx, keyEntry(key1), "", left); err != nil {
		t.Fatal(err)
	}
	if d, err := n.asks("sk-1"); err != nil || !d.Allowed {
		t.Errorf("asked: %+v, %v", d, err)
	}
	if all, _, err := n.Entries(ctx, provider, limiter.KeyEntry, "", 10); err != nil || len(all) != 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
	if e, err := n.PutEntry(ctx, keyEntry(key1), []byte(`{}`), limiter.Edit{Absent: true}); err != nil || !e.Created {
		t.Errorf("written anew: %+v, %v", e, err)
	}
	n.remaining("rpd", 999)
}

// between is a store that does something just before an entry is written.
type between struct {
	limiter.Store
	once func()
}

func (s *between) Swap(ctx context.Context, id limiter.DocID, prev string, next limiter.Record) (limiter.Record, error) {
	if then := s.once; then != nil && id.Kind != "" {
		s.once = nil
		then()
	}
	return s.Store.Swap(ctx, id, prev, next)
}

// testLateEntry: a write to an entry of a provider that is deleted and created anew meanwhile leaves the new entries alone.
func testLateEntry(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d"))
	late := &between{Store: n.store, once: func() {
		if err := n.DeletePolicy(ctx, provider, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		n.put(rate("1000", "10d"))
		n.entry(key1, `{"disabled":true}`)
		n.put(rate("500", "10d"))
	}}
	other := limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: limiter.KeyID("sk-2")}
	if e, err := limiter.New(late).PutEntry(ctx, other, []byte(`{"label":"late"}`), limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("written to a provider that was deleted: %+v, %v", e, err)
	}
	if _, err := n.asks("sk-1"); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("a key that was disabled since: %v", err)
	}
	if _, err := n.Entry(ctx, other); !errors.Is(err, limiter.ErrUnknownEntry) {
		t.Errorf("the late entry: %v", err)
	}
}
