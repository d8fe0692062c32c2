package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// reset forgets usage, and expects that of those limits to be what is forgotten.
func (n *bench) reset(q limiter.ResetQuery, want ...string) {
	n.Helper()
	q.Provider = provider
	limits, revision, err := n.Reset(context.Background(), q, limiter.Edit{})
	if err != nil || !slices.Equal(limits, want) || revision == 0 {
		n.Fatalf("at %s reset %v at revision %d, want %v; %v", n.now.Time(), limits, revision, want, err)
	}
}

var key1 = limiter.KeyID("sk-1")

// testReset: usage that was forgotten is gone for good, and what was reserved before can't be given back to what is charged
// after.
func testReset(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "1d")+`,
		"month": {"scope":"key","kind":"quota","amount":1000,"per":"month"},
		"slots": {"scope":"key","kind":"concurrency","amount":2}`)
	old := n.hold(time.Hour, requests(0)) // takes no slot
	first, second := n.askFor(limiter.Ask{Key: "sk-1"}).PermitID, n.hold(time.Hour, nil)
	n.deny(1, time.Second)
	n.reset(limiter.ResetQuery{KeyID: key1, Limits: []string{"slots", "slots"}}, "slots")
	n.inUse(0)
	n.remaining("rpd", 998)
	third := n.hold(time.Hour, nil)
	n.cancel(first, by{"rpd": -1, "month": -1}) // its slot was forgotten: it gives none back
	n.inUse(1)
	n.cancel(third, by{"rpd": -1, "month": -1})
	n.inUse(0)
	n.reset(limiter.ResetQuery{KeyID: key1}, "month", "rpd", "slots")
	n.remaining("rpd", 1000)
	n.settle(second, requests(0), nil, nil)
	n.remaining("rpd", 1000)
	n.settle(old, requests(30), by{"rpd": 30, "month": 30}, nil) // what is used is used now
	n.remaining("month", 970)
	n.put(rate("1000", "1d")) // a limit that goes and comes back does not bring back what was forgotten
	n.put(rate("1000", "1d") + `, "month": {"scope":"key","kind":"quota","amount":1000,"per":"month"}`)
	n.remaining("month", 970)
	n.reset(limiter.ResetQuery{All: true, Limits: []string{"month"}}, "month")
	n.remaining("month", 1000)
	n.remaining("rpd", 970)
}

func testResetSubjects(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, `
		"all":   {"scope":"provider","kind":"rate","amount":1000,"per":"1d"},
		"acct":  {"scope":"pool","kind":"rate","amount":1000,"per":"1d"},
		"each":  {"scope":"key","kind":"rate","amount":1000,"per":"1d"},
		"model": {"scope":"key","kind":"rate","amount":1000,"per":"1d","per_model":true}`)
	key2 := limiter.KeyID("sk-2")
	for _, id := range []string{key1, key2} {
		doc := `{"pool":"acme","limits":{"each":{"amount":500}}}`
		if _, err := n.PutEntry(ctx, limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: id}, []byte(doc), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...int64) {
		t.Helper()
		got := []int64{n.usage(limiter.UsageQuery{}, "all").Used, n.usage(limiter.UsageQuery{Pool: "acme"}, "acct").Used}
		for _, id := range []string{key1, key2, limiter.KeyID("sk-3")} {
			got = append(got, n.usage(limiter.UsageQuery{KeyID: id, Model: "m"}, "each").Used, n.usage(limiter.UsageQuery{KeyID: id, Model: "m"}, "model").Used)
		}
		got = append(got, n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-3")}, "acct").Used)
		if !slices.Equal(got, want) {
			t.Fatalf("used %v, want %v", got, want)
		}
	}
	for i, key := range []string{"sk-1", "sk-2", "sk-3"} {
		n.askFor(limiter.Ask{Key: key, Model: "m", Cost: requests(int64(10 * (i + 1)))})
	}
	expect(60, 30, 10, 10, 20, 20, 30, 30, 30)
	n.reset(limiter.ResetQuery{KeyID: key1, Limits: []string{"model"}}, "model")
	expect(60, 30, 10, 0, 20, 20, 30, 30, 30)
	n.reset(limiter.ResetQuery{Pool: "acme"}, "acct")
	expect(60, 0, 10, 0, 20, 20, 30, 30, 30)
	n.reset(limiter.ResetQuery{KeyID: limiter.KeyID("sk-3")}, "acct", "each", "model")
	expect(60, 0, 10, 0, 20, 20, 0, 0, 0)
	n.reset(limiter.ResetQuery{}, "all")
	expect(0, 0, 10, 0, 20, 20, 0, 0, 0)
	n.askFor(limiter.Ask{Key: "sk-1", Model: "m", Cost: requests(5)})
	expect(5, 5, 15, 5, 20, 20, 0, 0, 0)
	n.reset(limiter.ResetQuery{All: true}, "acct", "all", "each", "model")
	expect(0, 0, 0, 0, 0, 0, 0, 0, 0)
	if got := n.usage(limiter.UsageQuery{KeyID: key1}, "each").Amount; got != 500 {
		t.Errorf("the entry says %d", got)
	}
	for name, q := range map[string]limiter.ResetQuery{
		"unknown limit":       {KeyID: key1, Limits: []string{"nope"}},
		"of another scope":    {KeyID: key1, Limits: []string{"all"}},
		"of the key's pool":   {KeyID: key1, Limits: []string{"acct"}},
		"key and pool":        {KeyID: key1, Pool: "acme"},
		"all and a key":       {KeyID: key1, All: true},
		"not a key id":        {KeyID: "sk-1"},
		"a key's, of nobody":  {Limits: []string{"each"}},
		"not a pool's name":   {Pool: "A B"},
		"provider without it": {Pool: "acme", Limits: []string{"each"}},
	} {
		q.Provider = provider
		if _, _, err := n.Reset(ctx, q, limiter.Edit{}); !errors.Is(err, limiter.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := n.Reset(ctx, limiter.ResetQuery{Provider: "nobody", KeyID: key1}, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("of an unknown provider: %v", err)
	}
	expect(0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// testSettleWhileGone closes and extends holds while their limits are out of the policy, and brings the limits back.
func testSettleWhileGone(t *testing.T, b Backend) {
	limits := rate("3600", "1h") + `,
		"month": {"scope":"key","kind":"quota","amount":1000,"per":"month"},
		"slots": {"scope":"key","kind":"concurrency","unit":"held","default_cost":1,"amount":5}`
	n := newBench(t, b, limits)
	first, second, third := n.hold(time.Minute, requests(100)), n.hold(time.Minute, requests(100)), n.hold(time.Minute, requests(100))
	n.put(``)
	n.at(30 * time.Second) // 30 of the first have drained
	n.settle(first, requests(20), by{"rpd": -70, "month": -80}, nil)
	n.settle(second, requests(150), nil, nil) // there is no limit to charge more to
	if _, err := n.ExtendHold(context.Background(), third, 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	n.put(limits)
	n.remaining("rpd", 3600-200)
	n.remaining("month", 1000-220)
	n.inUse(1)
	n.at(2 * time.Minute)
	n.inUse(1)
	n.at(150 * time.Second)
	n.inUse(0)
}

// testSettleAfresh: of a limit that means something else now nothing is given back.
func testSettleAfresh(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "10d"))
	p, q := n.hold(time.Hour, requests(100)), n.hold(time.Hour, requests(100))
	n.put(quota("1000"))
	n.grant(200)
	n.settle(p, requests(0), nil, nil)
	n.remaining("rpd", 800)
	n.settle(q, requests(150), by{"rpd": 50}, nil)
	n.remaining("rpd", 750)
	n.put(`"rpd": {"scope":"provider","kind":"quota","amount":1000,"per":"day"}`)
	p = n.hold(time.Hour, requests(100))
	n.put(quota("1000"))
	n.settle(p, requests(150), nil, nil) // whose it would be now was not noted
	n.remaining("rpd", 1000)
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

// testResetOnRecord: the history says what was reset, and why.
func testResetOnRecord(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, `"all": {"scope":"provider","kind":"quota","amount":10,"per":"day"}`)
	for _, note := range []string{"", "why"} {
		if _, _, err := n.Reset(ctx, limiter.ResetQuery{Provider: provider}, limiter.Edit{By: "ann", Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	items, _, err := n.History(ctx, provider, 0, 2)
	if err != nil || items[0].Note != "reset of all: why" || items[1].Note != "reset of all" || items[0].By != "ann" {
		t.Errorf("%+v, %v", items, err)
	}
}

// testOtherUnits: what a call used in units that a limit no longer counts is not charged to it.
func testOtherUnits(t *testing.T, b Backend) {
	tokens := `"l": {"scope":"key","kind":"rate","unit":"tokens","amount":1000,"per":"10d"}`
	n := newBench(t, b, tokens)
	p := n.hold(time.Hour, limiter.Costs{{Unit: "tokens", Amount: 10}})
	n.put(strings.Replace(tokens, "tokens", "requests", 1))
	n.settle(p, limiter.Costs{{Unit: "tokens", Amount: 500}}, nil, nil)
	n.remaining("l", 1000)
}
