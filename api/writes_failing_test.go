package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// lossyStore loses the answers to writes: after some that go well, each is made and then reported as failed.
type lossyStore struct {
	limiter.Store
	good *int
}

func (l lossyStore) Swap(ctx context.Context, id limiter.DocID, prev string, next limiter.Record) (limiter.Record, error) {
	return l.answer(l.Store.Swap(ctx, id, prev, next))
}

func (l lossyStore) SwapAll(ctx context.Context, writes []limiter.Write) (limiter.Record, error) {
	return l.answer(l.Store.SwapAll(ctx, writes))
}

func (l lossyStore) answer(r limiter.Record, err error) (limiter.Record, error) {
	if *l.good--; err == nil && *l.good < 0 {
		return limiter.Record{}, fmt.Errorf("%w: hunter2", limiter.ErrStoreUnavailable)
	}
	return r, err
}

// TestWritesWithoutAnswer: what may have been done is not called undone, and how to find out is said.
func TestWritesWithoutAnswer(t *testing.T) {
	for _, w := range writes {
		good := 1000
		c := limiter.New(lossyStore{memstore.New(memstore.Options{}), &good})
		seed(t, c, limiter.ProviderDocs{Provider: "p", Policy: parsePolicy(t, rpm)})
		r := serve(t, New(c, Options{}))
		if w.method != "PUT" && !strings.HasSuffix(w.path, "/keys") {
			r.wrote(201, "PUT", keys1, `{}`)
			r.wrote(201, "PUT", "/v1/providers/p/pools/acme", `{}`)
		}
		good = 0
		got := r.tune(w.method, w.path, w.body)
		p := got.problem(t, 503, "store-unavailable")
		if !strings.Contains(p.Detail, "can't tell whether this was written: GET it") || got.header.Get("Retry-After") != "1" || strings.Contains(got.text, "hunter2") {
			t.Errorf("%s %s: %s", w.method, w.path, got.text)
		}
	}
}

// TestNewKeysWithoutStore: when the store is lost on the way, the rest is not tried.
func TestNewKeysWithoutStore(t *testing.T) {
	good := 1000
	c := limiter.New(lossyStore{memstore.New(memstore.Options{}), &good})
	seed(t, c, limiter.ProviderDocs{Provider: "p", Policy: parsePolicy(t, rpm)})
	r := serve(t, New(c, Options{}))
	good = 1
	got := r.tune("POST", "/v1/providers/p/keys", `[{"key":"a"},{"key":"b"},{"key":"c"},{"key":"d"}]`)
	var doc struct{ Items []problemDoc }
	decode(t, got.text, &doc)
	want := []string{"", "can't tell whether this was written", "was not tried", "was not tried"}
	for i, item := range doc.Items {
		if status := map[bool]int{true: 201, false: 503}[i == 0]; item.Status != status || !strings.Contains(item.Detail, want[i]) {
			t.Errorf("%d: %+v", i, item)
		}
	}
	_, err := c.Entry(t.Context(), limiter.DocID{Provider: "p", Kind: limiter.KeyEntry, Name: limiter.KeyID("c")})
	if len(doc.Items) != len(want) || !errors.Is(err, limiter.ErrUnknownEntry) {
		t.Errorf("%d %s; the third: %v", got.status, got.text, err)
	}
}
