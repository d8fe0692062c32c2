package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// testMisfits: an override that a policy was edited away from is clamped and named, never passed over.
func testMisfits(t *testing.T, b Backend) {
	strict := func(burst string) string {
		return `"l":{"scope":"key","kind":"rate","amount":1000,"per":"1m","strict_window":true,"burst":` + burst + `},
			"acct":{"scope":"pool","kind":"quota","amount":1000,"per":"day"}`
	}
	n := newBench(t, b, strict("10"))
	ctx := context.Background()
	key := limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: limiter.KeyID("sk-1")}
	pool := limiter.DocID{Provider: provider, Kind: limiter.PoolEntry, Name: "acme"}
	w, err := n.PutEntry(ctx, key, []byte(`{"pool":"acme","limits":{"l":{"amount":20}}}`), limiter.Edit{})
	if err != nil || len(w.Misfits) > 0 {
		t.Fatalf("%+v, %v", w, err)
	}
	if _, err := n.PutEntry(ctx, pool, []byte(`{"limits":{"acct":{"amount":5,"per":"month"}}}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	put := func(limits string, want ...string) {
		t.Helper()
		w, err := n.PutPolicy(ctx, provider, policy(t, limits), limiter.Edit{})
		if err != nil || !slices.Equal(w.Misfits, want) {
			t.Errorf("misfits %q, %v; want %q", w.Misfits, err, want)
		}
	}
	put(strict("30"), "l")
	shown := n.usage(limiter.UsageQuery{KeyID: key.Name}, "l")
	if shown.Amount != 20 || shown.Remaining != 2 || shown.Misfit == "" {
		t.Errorf("usage %+v, want an amount of 20, 2 of which go at once, as a misfit", shown)
	}
	if shown := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-2")}, "l"); shown.Amount != 1000 || shown.Misfit != "" {
		t.Errorf("of another key %+v", shown)
	}
	n.grant(2)
	n.deny(1, 3_333_334*time.Microsecond) // 18 a minute

	// The entry can be edited as long as the override stays; another misfit is refused.
	w, err = n.PatchEntry(ctx, key, []byte(`{"label":"x"}`), limiter.Edit{})
	if err != nil || !slices.Equal(w.Misfits, []string{"l"}) {
		t.Errorf("patched: %+v, %v", w, err)
	}
	if _, err := n.PatchEntry(ctx, key, []byte(`{"limits":{"l":{"amount":21}}}`), limiter.Edit{}); !errors.Is(err, limiter.ErrInvalid) {
		t.Errorf("another misfit: %v", err)
	}
	w, err = n.RotateKey(ctx, provider, key.Name, limiter.KeyID("sk-3"), 0, limiter.Edit{})
	if err != nil || !slices.Equal(w.Misfits, []string{"l"}) {
		t.Errorf("rotated: %+v, %v", w, err)
	}

	// Of other kinds and scopes, and gone.
	put(`"l":{"scope":"key","kind":"rate","amount":1000,"per":"1m"},"acct":{"scope":"pool","kind":"rate","amount":1000,"per":"1m"}`, "acct")
	if shown := n.usage(limiter.UsageQuery{Pool: "acme"}, "acct"); shown.Amount != 5 || shown.Remaining != 5 || shown.Misfit == "" {
		t.Errorf("a quota that became a rate: %+v", shown)
	}
	put(`"l":{"scope":"pool","kind":"rate","amount":1000,"per":"1m"}`, "acct", "l")
	put(strict("10"))
	if shown := n.usage(limiter.UsageQuery{Pool: "acme"}, "acct"); shown.Amount != 5 || shown.Misfit != "" {
		t.Errorf("fits again: %+v", shown)
	}
}
