package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func testRotate(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d")+`,"acct":{"scope":"pool","kind":"rate","amount":1000,"per":"10d"}`)
	key2, key3 := limiter.KeyID("sk-2"), limiter.KeyID("sk-3")
	n.entry(key1, `{"label":"a","limits":{"rpd":{"amount":500}}}`)
	p := n.hold(time.Minute, requests(1))
	if _, err := n.RotateKey(ctx, provider, limiter.KeyID("sk-9"), key2, time.Hour, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownEntry) {
		t.Errorf("a key without an entry: %v", err)
	}
	if _, err := n.RotateKey(ctx, provider, key1, key2, time.Hour, limiter.Edit{Tag: "other"}); !errors.Is(err, limiter.ErrConflict) {
		t.Errorf("on top of another: %v", err)
	}
	for range 2 { // the second time nothing changes
		e, err := n.RotateKey(ctx, provider, key1, key2, time.Hour, limiter.Edit{})
		if err != nil || e.Name != key2 || string(e.Entry.Body()) != `{"label":"a","limits":{"rpd":{"amount":500}}}` {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	others := []*limiter.Coordinator{n.Coordinator, limiter.New(n.store)}
	used := int64(1)
	for _, c := range others {
		for _, key := range []string{"sk-1", "sk-2"} {
			used += 10
			d, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: key, Cost: requests(10)})
			if err != nil || d.KeyID != limiter.KeyID(key) {
				t.Fatalf("%+v, %v", d, err)
			}
			for _, l := range d.Limits {
				if l.Used != used || l.Name == "rpd" && l.Amount != 500 {
					t.Fatalf("%s: used %d of %d, want %d", l.Name, l.Used, l.Amount, used)
				}
			}
		}
	}
	n.settle(p, requests(0), by{"rpd": -1, "acct": -1}, nil)
	for _, id := range []string{key1, key2} { // one entry under both
		e, err := n.PatchEntry(ctx, keyEntry(id), []byte(`{"label":"`+id+`"}`), limiter.Edit{})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{key1, key2} {
			got, err := n.Entry(ctx, keyEntry(other))
			if err != nil || got.Tag != e.Tag || (got.RotatedTo == key2) != (other == key1) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
	if all, _, err := n.Entries(ctx, provider, limiter.KeyEntry, "", 10); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	n.entry(key3, `{}`)
	if _, err := n.RotateKey(ctx, provider, key2, key3, time.Hour, limiter.Edit{}); !errors.Is(err, limiter.ErrConflict) {
		t.Errorf("to a key that has an entry: %v", err)
	}
	if err := n.DeleteEntry(ctx, keyEntry(key3), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.RotateKey(ctx, provider, key1, key3, time.Hour, limiter.Edit{}); !errors.Is(err, limiter.ErrInvalid) {
		t.Errorf("one that was rotated before: %v", err)
	}
	n.at(30 * time.Minute)
	if _, err := n.RotateKey(ctx, provider, key2, key3, time.Hour, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	good := func(key string, want bool) {
		t.Helper()
		for i, c := range others {
			d, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: key, Cost: requests(0)})
			if want != (err == nil) || err != nil && !errors.Is(err, limiter.ErrKeyDisabled) {
				t.Errorf("instance %d at %s: asked with %s: %+v, %v", i, n.now.Time(), key, d, err)
			}
		}
	}
	for _, key := range []string{"sk-1", "sk-2", "sk-3"} {
		good(key, true)
	}
	n.at(time.Hour - time.Second) // until when it is good, an instance says by its own clock
	good("sk-1", true)
	n.at(time.Hour + time.Second)
	n.asks("sk-9") // by which this instance learns what time it is
	others[1].Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-9"})
	good("sk-1", false)
	good("sk-2", true)
	n.at(91 * time.Minute)
	for _, c := range others {
		c.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-9"})
	}
	good("sk-2", false)
	good("sk-3", true)
	if _, err := n.RotateKey(ctx, provider, key3, key2, time.Hour, limiter.Edit{}); err != nil { // back
		t.Fatal(err)
	}
	good("sk-2", true)
	good("sk-3", true)
	if err := n.DeleteEntry(ctx, keyEntry(key3), limiter.Edit{}); err != nil { // ends its time
		t.Fatal(err)
	}
	good("sk-3", false)
	left := n.usage(limiter.UsageQuery{KeyID: key2}, "acct").Used
	if left < 30 {
		t.Errorf("used %d: it was 41, and little has drained", left)
	}
	if err := n.DeleteEntry(ctx, keyEntry(key2), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	good("sk-1", false)
	good("sk-2", true)
	good("sk-3", false)
	n.used("acct", "sk-2", left) // which is the key's still
	n.entry(key1, `{"label":"again"}`)
	if e, err := n.Entry(ctx, keyEntry(key2)); err != nil || e.RotatedTo != "" || string(e.Entry.Body()) != `{"label":"again"}` {
		t.Errorf("%+v, %v", e, err)
	}
	n.used("acct", "sk-2", left)
	n.reset(limiter.ResetQuery{KeyID: key2, Limits: []string{"rpd"}}, "rpd")
	n.used("rpd", "sk-2", 0)
}

// used expects what a limit holds for a key.
func (n *bench) used(limit, key string, want int64) {
	n.Helper()
	if got := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID(key)}, limit).Used; got != want {
		n.Fatalf("at %s %s holds %d for %s, want %d", n.now.Time(), limit, got, key, want)
	}
}

// testRotateOften rotates one key again and again; each of its ids asks meanwhile.
func testRotateOften(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d"))
	name := func(i int) string { return "sk-" + strconv.Itoa(i) }
	n.entry(limiter.KeyID(name(0)), `{}`)
	others := []*limiter.Coordinator{n.Coordinator, limiter.New(n.store)}
	const often = 30
	for i := range often {
		if _, err := n.RotateKey(ctx, provider, limiter.KeyID(name(i)), limiter.KeyID(name(i+1)), time.Hour, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		for j := range i + 2 {
			if d, err := others[i%2].Acquire(ctx, limiter.Ask{Provider: provider, Key: name(j)}); err != nil || !d.Allowed {
				t.Fatalf("after %d rotations, asked with the key %d: %+v, %v", i+1, j, d, err)
			}
		}
	}
	n.used("rpd", name(often), often*(often+3)/2)
	if d, err := limiter.New(n.store).Acquire(ctx, limiter.Ask{Provider: provider, Key: name(0)}); err != nil || !d.Allowed {
		t.Errorf("an instance that knows nothing: %+v, %v", d, err)
	}
	if all, _, err := n.Entries(ctx, provider, limiter.KeyEntry, "", 100); err != nil || len(all) != often+1 {
		t.Errorf("%d entries, %v", len(all), err)
	}
	if err := n.DeleteEntry(ctx, keyEntry(limiter.KeyID(name(often))), limiter.Edit{}); err != nil {
		t.Error(err)
	}
}

// testRotateTogether has operators rotate the same key to different ones at the same time, while others edit, reset and
// delete it, and instances ask. One of the keys takes its place, the others are what they were.
func testRotateTogether(t *testing.T, b Backend) {
	store, ctx := b.Open(t), context.Background()
	first := limiter.New(store)
	p := `{"unknown_keys":"deny","limits":{"day":{"scope":"key","kind":"quota","amount":1000000,"per":"month"}}}`
	doc, err := limiter.ParsePolicy([]byte(p))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.PutPolicy(ctx, provider, doc, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		from := fmt.Sprintf("from-%d", round)
		id := keyEntry(limiter.KeyID(from))
		if _, err := first.PutEntry(ctx, id, []byte(`{"label":"x"}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []string
		for i := range 4 {
			wg.Go(func() {
				c, to := limiter.New(store), fmt.Sprintf("to-%d-%d", round, i)
				if _, err := c.RotateKey(ctx, provider, id.Name, limiter.KeyID(to), 0, limiter.Edit{}); err == nil {
					mu.Lock()
					defer mu.Unlock()
					won = append(won, to)
				} else if !errors.Is(err, limiter.ErrInvalid) {
					t.Error(err)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				c := limiter.New(store)
				if _, err := c.PatchEntry(ctx, id, []byte(`{"label":"y"}`), limiter.Edit{}); err != nil {
					t.Error(err)
				}
				if _, _, err := c.Reset(ctx, limiter.ResetQuery{Provider: provider, KeyID: id.Name}, limiter.Edit{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%v all took its place", won)
		}
		for i := range 4 {
			to := fmt.Sprintf("to-%d-%d", round, i)
			d, err := first.Acquire(ctx, limiter.Ask{Provider: provider, Key: to})
			if good := err == nil && d.Allowed; good != (to == won[0]) || err != nil && !errors.Is(err, limiter.ErrUnknownKey) {
				t.Errorf("%s (%s took its place): %+v, %v", to, won[0], d, err)
			}
		}
		if _, err := first.Acquire(ctx, limiter.Ask{Provider: provider, Key: from}); !errors.Is(err, limiter.ErrKeyDisabled) {
			t.Errorf("the old key: %v", err)
		}
		if e, err := first.Entry(ctx, keyEntry(limiter.KeyID(won[0]))); err != nil || string(e.Entry.Body()) != `{"label":"y"}` {
			t.Errorf("%+v, %v", e, err)
		}
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
