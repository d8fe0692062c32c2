package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const oneSlot = `
	"c": {"scope":"key","kind":"concurrency","amount":1},`

// crowded are limits of a policy that counts one unknown key and one model apart.
const crowded = `
	"m": {"scope":"provider","kind":"rate","unit":"tokens","amount":1000,"per":"10h","per_model":true},
	"t": {"scope":"key","kind":"rate","unit":"tokens","amount":100,"per":"10h"}`

func newCrowd(t *testing.T, b Backend, limits string) *bench {
	t.Helper()
	n := newBench(t, b, `"rpm": {"scope":"key","kind":"rate","amount":10,"per":"1m"}`)
	p, err := limiter.ParsePolicy([]byte(`{"hold_ttl":"2h","max_unknown_keys":1,"max_models":1,"limits":{` + limits + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.PutPolicy(t.Context(), provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// heldBy expects a hold of a key for a model, and whether its lines are counted with others.
func (n *bench) heldBy(key, model string, cost limiter.Costs, together bool) string {
	n.Helper()
	d := n.askFor(limiter.Ask{Key: key, Model: model, Cost: cost, Hold: true, TTL: time.Hour})
	if !d.Allowed || (d.Limits[0].CountedAs != "") != together {
		n.Fatalf("%s for %s: %+v, want it counted together: %v", key, model, d, together)
	}
	return d.PermitID
}

// testNamesOfHolds: a hold that costs nothing yet is one of the names that a policy allows, since settling it makes counters.
func testNamesOfHolds(t *testing.T, b Backend) {
	n := newCrowd(t, b, crowded)
	n.heldBy("sk-a", "m1", nil, false)
	for _, key := range []string{"sk-b", "sk-c"} {
		p := n.heldBy(key, "m2", nil, true)
		if _, err := n.Settle(t.Context(), p, costs("tokens", 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// testOthersGoByThePolicy: a hold of a key that was counted with others is closed by the policy's terms, though the key has an
// entry of its own by then.
func testOthersGoByThePolicy(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newCrowd(t, b, oneSlot+crowded)
	n.heldBy("sk-a", "m1", nil, false)
	p := n.heldBy("sk-b", "m1", costs("tokens", 1), true)
	id := limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: limiter.KeyID("sk-b")}
	if _, err := n.PutEntry(ctx, id, []byte(`{"limits":{"t":{"amount":100000},"c":{"amount":9}}}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Reset(ctx, limiter.ResetQuery{Provider: provider, KeyID: id.Name}, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	s, err := n.Settle(ctx, p, costs("tokens", 500))
	if err != nil || s.Adjusted["t"] != 199 || s.Uncharged["t"] != 300 {
		t.Errorf("%+v, %v, want burst and one amount of the policy's limit charged", s, err)
	}
	d := n.askFor(limiter.Ask{Key: "sk-c", Model: "m1", Hold: true})
	if got := d.Violated(); len(got) != 1 || got[0] != "t" {
		t.Errorf("%+v, want the slot free", d)
	}
}

// testOtherIsNoModel: an ask can't name the model that stands for those that are too many.
func testOtherIsNoModel(t *testing.T, b Backend) {
	n := newCrowd(t, b, oneSlot+crowded)
	if _, err := n.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-a", Model: limiter.Other}); !errors.Is(err, limiter.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
