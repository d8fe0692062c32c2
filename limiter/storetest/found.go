package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// testOtherUnits: what a call used in units that a limit no longer counts is not charged to it.
func testOtherUnits(t *testing.T, b Backend) {
	tokens := `"l": {"scope":"key","kind":"rate","unit":"tokens","amount":1000,"per":"10d"}`
	n := newBench(t, b, tokens)
	p := n.hold(time.Hour, limiter.Costs{{Unit: "tokens", Amount: 10}})
	n.put(strings.Replace(tokens, "tokens", "requests", 1))
	n.settle(p, limiter.Costs{{Unit: "tokens", Amount: 500}}, nil, nil)
	n.remaining("l", 1000)
}

// testResetKept: usage that was forgotten stays so, however many other limits come and go.
func testResetKept(t *testing.T, b Backend) {
	ctx := context.Background()
	own := `"q": {"scope":"key","kind":"quota","amount":10,"per":"month"}`
	n := newBench(t, b, own)
	n.grant(10)
	n.reset(limiter.ResetQuery{KeyID: key1}, "q")
	for round := range 3 {
		var limits, overrides []string
		for i := range 63 {
			name := fmt.Sprintf("r%d-%d", round, i)
			limits = append(limits, `"`+name+`": {"scope":"key","kind":"rate","models":["none"],"amount":10,"per":"1m"}`)
			overrides = append(overrides, `"`+name+`": {"amount":5}`)
		}
		n.put(own + "," + strings.Join(limits, ","))
		n.entry(key1, `{"limits":{`+strings.Join(overrides, ",")+`}}`)
	}
	n.put(own)
	n.remaining("q", 10)
	if _, err := n.Policy(ctx, provider); err != nil {
		t.Error(err)
	}
}

// testRotatedNumbering: what is reset, or counted in other windows, after a rotation begins afresh as it would before.
func testRotatedNumbering(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, `"q": {"scope":"key","kind":"quota","amount":10,"per":"day"}`)
	n.entry(key1, `{}`)
	n.reset(limiter.ResetQuery{KeyID: key1}, "q")
	n.entry(key1, `{"limits":{"q":{"per":"week"}}}`)
	key2 := limiter.KeyID("sk-2")
	if _, err := n.RotateKey(ctx, provider, key1, key2, time.Hour, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	ask := func(cost int64) *limiter.Decision {
		t.Helper()
		return n.askFor(limiter.Ask{Key: "sk-2", Cost: requests(cost)})
	}
	for _, afresh := range []func(){
		func() {},
		func() { n.reset(limiter.ResetQuery{KeyID: key2}, "q") },
		func() {
			e, err := n.PatchEntry(ctx, keyEntry(key2), []byte(`{"limits":{"q":{"per":"month"}}}`), limiter.Edit{})
			if err != nil || len(e.Restarted) != 1 || e.Restarted[0] != "q" {
				t.Errorf("%+v, %v", e, err)
			}
		},
		func() { n.reset(limiter.ResetQuery{KeyID: key2}, "q") },
	} {
		afresh()
		if d := ask(10); !d.Allowed || ask(1).Allowed {
			t.Errorf("%+v", d)
		}
	}
}

// testRotatedClock: whether the time of an old key is over, the store's clock says.
func testRotatedClock(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "10d"))
	n.entry(key1, `{}`)
	if _, err := n.RotateKey(context.Background(), provider, key1, limiter.KeyID("sk-2"), time.Hour, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	n.asks("sk-1") // by which the documents are known
	n.at(2 * time.Hour)
	n.asks("sk-3") // this instance takes it to be that late
	n.at(0)
	if d, err := n.asks("sk-1"); err != nil || !d.Allowed {
		t.Errorf("within its time: %+v, %v", d, err)
	}
	n.at(time.Hour - 500*time.Millisecond)
	n.asks("sk-3") // and now it takes it to be no later than that
	n.at(time.Hour)
	if d, err := n.asks("sk-1"); err == nil {
		t.Errorf("after its time: %+v", d)
	}
}

// testReplayNamesTheKey: the answer to a repeated ask names the key that it asked with, be it rotated.
func testReplayNamesTheKey(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "10d"))
	n.entry(key1, `{}`)
	if _, err := n.RotateKey(context.Background(), provider, key1, limiter.KeyID("sk-2"), time.Hour, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	for _, replayed := range []bool{false, true} {
		d := n.askFor(limiter.Ask{Key: "sk-2", IdempotencyKey: "k"})
		if d.KeyID != limiter.KeyID("sk-2") || d.Replayed != replayed {
			t.Errorf("%+v", d)
		}
	}
}

// testResetOnRecord: the history says what was reset, and why.
func testResetOnRecord(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, `"all": {"scope":"provider","kind":"quota","amount":10,"per":"day"}`)
	for _, note := range []string{"", "why"} {
		if _, _, err := n.Reset(ctx, limiter.ResetQuery{Provider: provider}, limiter.Edit{By: "ann", Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	items, err := n.History(ctx, provider, 0, 2)
	if err != nil || items[0].Note != "reset of all: why" || items[1].Note != "reset of all" || items[0].By != "ann" {
		t.Errorf("%+v, %v", items, err)
	}
}
