package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// named stores a policy with bounds of names for some providers.
func (n *bench) named(bounds, limits string, providers ...string) {
	n.Helper()
	p, err := limiter.ParsePolicy([]byte(`{` + bounds + `,"limits":{` + limits + `}}`))
	if err != nil {
		n.Fatal(err)
	}
	for _, name := range providers {
		if _, err := n.PutPolicy(context.Background(), name, p, limiter.Edit{}); err != nil {
			n.Fatal(err)
		}
	}
}

// counted asks once, and returns the decision and the names of the limits that count the ask with others.
func (n *bench) counted(c *limiter.Coordinator, provider, key, model string) (d *limiter.Decision, as []string) {
	n.Helper()
	d, err := c.Acquire(context.Background(), limiter.Ask{Provider: provider, Key: key, Model: model})
	if err != nil {
		n.Fatal(err)
	}
	for _, l := range d.Limits {
		if l.CountedAs == limiter.Other {
			as = append(as, l.Name)
		}
	}
	if (d.CountedAs() == limiter.Other) != (len(as) > 0) {
		n.Fatalf("the answer is counted as %q, its limits %v", d.CountedAs(), as)
	}
	return d, as
}

// apart asks and expects every limit to count the ask apart, together that those do not.
func (n *bench) apart(provider, key, model string) *limiter.Decision {
	n.Helper()
	return n.together(provider, key, model)
}

func (n *bench) together(provider, key, model string, limits ...string) *limiter.Decision {
	n.Helper()
	d, as := n.counted(n.Coordinator, provider, key, model)
	if !slices.Equal(as, limits) {
		n.Fatalf("%s asks %s for %q: limits %v count it with others, want %v", key, provider, model, as, limits)
	}
	return d
}

// left expects what a limit of a decision has left.
func (n *bench) left(d *limiter.Decision, limit string, want int64) {
	n.Helper()
	for _, l := range d.Limits {
		if l.Name == limit {
			if l.Remaining != want {
				n.Fatalf("limit %s has %d left, want %d", limit, l.Remaining, want)
			}
			return
		}
	}
	n.Fatalf("no limit %s in %+v", limit, d.Limits)
}

// tenEach has a limit for each key, one for each account, and one for the provider.
const tenEach = `
	"acct": {"scope":"pool","kind":"quota","amount":10,"per":"day"},
	"all":  {"scope":"provider","kind":"rate","amount":1000,"per":"1h"},
	"key":  {"scope":"key","kind":"rate","amount":10,"per":"1h"}`

func testUnknownKeys(t *testing.T, b Backend) {
	n := newBench(t, b, tenEach)
	n.named(`"max_unknown_keys":2`, tenEach, "openai", "anthropic")
	id := limiter.DocID{Provider: "openai", Kind: limiter.KeyEntry, Name: limiter.KeyID("sk-known")}
	if _, err := n.PutEntry(context.Background(), id, []byte(`{}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	for _, provider := range []string{"openai", "anthropic"} { // each has room for two
		n.left(n.apart(provider, "sk-1", ""), "key", 9)
		n.left(n.apart(provider, "sk-2", ""), "key", 9)
		d := n.together(provider, "sk-3", "", "acct", "key")
		n.left(d, "key", 9)
		d = n.together(provider, "sk-4", "", "acct", "key")
		n.left(d, "key", 8)
		n.left(d, "acct", 8)
		n.left(n.apart(provider, "sk-1", ""), "key", 8)
	}
	n.left(n.apart("openai", "sk-known", ""), "key", 9)
	n.together("anthropic", "sk-known", "", "acct", "key")

	u := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-3")}, "key")
	if u.Used != 2 || u.CountedAs != limiter.Other {
		t.Fatalf("usage of a key that is counted with others: %+v", u)
	}
	if u := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-2")}, "key"); u.Used != 1 || u.CountedAs != "" {
		t.Fatalf("usage of a key that is counted apart: %+v", u)
	}
	if _, err := n.PutEntry(context.Background(), limiter.DocID{Provider: "openai", Kind: limiter.KeyEntry, Name: limiter.KeyID("sk-3")}, []byte(`{}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	n.left(n.apart("openai", "sk-3", ""), "key", 9)
	n.named(`"max_unknown_keys":0`, tenEach, "openai")
	n.together("openai", "sk-5", "", "acct", "key")
	n.left(n.apart("openai", "sk-2", ""), "key", 8) // it has a counter
}

const perModel = `
	"all": {"scope":"provider","kind":"rate","amount":1000,"per":"1h","per_model":true},
	"gpt": {"scope":"key","kind":"rate","amount":10,"per":"1h","models":["gpt-*"]},
	"key": {"scope":"key","kind":"rate","amount":10,"per":"1h","per_model":true}`

func testModels(t *testing.T, b Backend) {
	n := newBench(t, b, perModel)
	n.named(`"max_models":2`, perModel, "openai", "anthropic")
	for _, provider := range []string{"openai", "anthropic"} {
		n.apart(provider, "sk-1", "gpt-4o")
		n.apart(provider, "sk-1", "gpt-4o-mini")
		d := n.together(provider, "sk-1", "gpt-5", "all", "key")
		n.left(d, "gpt", 7) // what the model's name matches still holds
		n.left(d, "all", 999)
		n.left(n.together(provider, "sk-2", "o3", "all", "key"), "all", 998)
		n.left(n.apart(provider, "sk-2", "gpt-4o"), "all", 998)
	}
	if l := n.usage(limiter.UsageQuery{Model: "gpt-5"}, "all"); l.Model != limiter.Other || l.Used != 2 {
		t.Fatalf("usage of a model that is counted with others: %+v", l)
	}
}

// A key's models are many, though neither the keys nor the models are: each of their pairs would have a counter.
func testModelsOfUnknownKeys(t *testing.T, b Backend) {
	n := newBench(t, b, perModel)
	n.named(`"max_unknown_keys":2,"max_models":100`, perModel, "openai")
	for i := range 8 {
		n.apart("openai", "sk-1", "m"+strconv.Itoa(i))
	}
	n.together("openai", "sk-2", "m0", "key")
	n.together("openai", "sk-2", "m8", "key") // the provider still counts the model apart
	d := n.together("openai", "sk-3", "m0", "key")
	n.left(d, "all", 997)
	n.apart("openai", "sk-1", "m7")
}

// Names make room when what they were charged to is no more.
func testNamesAreForgotten(t *testing.T, b Backend) {
	const limits = `"key": {"scope":"key","kind":"rate","amount":10,"per":"1m"}`
	n := newBench(t, b, limits)
	n.named(`"max_unknown_keys":2`, limits, "openai")
	n.apart("openai", "sk-1", "")
	n.apart("openai", "sk-2", "")
	for h := range 5 { // sk-1 goes on
		n.at(time.Duration(h) * time.Hour)
		n.apart("openai", "sk-1", "")
	}
	n.apart("openai", "sk-3", "")
	n.together("openai", "sk-4", "", "key")
	n.at(9 * time.Hour)
	n.apart("openai", "sk-4", "")
	n.apart("openai", "sk-5", "")
	n.together("openai", "sk-6", "", "key")
}

// What charges nothing takes no room: asks that are denied, dry, or cost nothing, and looks at usage.
func testNamesWithoutCounters(t *testing.T, b Backend) {
	const limits = `
		"all": {"scope":"provider","kind":"rate","amount":1,"per":"1h"},
		"key": {"scope":"key","kind":"rate","amount":10,"per":"1h"}`
	n := newBench(t, b, limits)
	n.named(`"max_unknown_keys":2`, limits, "openai")
	if d := n.apart("openai", "sk-1", ""); !d.Allowed {
		t.Fatalf("the first ask: %+v", d)
	}
	for i := range 5 {
		key := "sk-denied-" + strconv.Itoa(i)
		if d := n.apart("openai", key, ""); d.Allowed {
			t.Fatalf("an ask beyond the provider's limit: %+v", d)
		}
		d := n.askFor(limiter.Ask{Key: key, DryRun: true})
		free := n.askFor(limiter.Ask{Key: key, Cost: limiter.Costs{{Unit: "requests", Amount: 0}}})
		if u := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID(key)}, "key"); d.CountedAs()+free.CountedAs()+u.CountedAs != "" {
			t.Fatalf("%s: %+v %+v %+v", key, d, free, u)
		}
	}
}

// A hold of a key that is counted with others is settled and remembered there.
func testHoldsOfOthers(t *testing.T, b Backend) {
	n := newBench(t, b, tenEach)
	n.named(`"max_unknown_keys":1`, tenEach, "openai")
	n.apart("openai", "sk-1", "")
	ask := limiter.Ask{Key: "sk-2", Hold: true, IdempotencyKey: "once", Cost: limiter.Costs{{Unit: "requests", Amount: 5}}}
	for range 2 {
		if d := n.askFor(ask); d.CountedAs() != limiter.Other || !d.Allowed {
			t.Fatalf("%+v", d)
		}
	}
	d := n.askFor(ask)
	if !d.Replayed {
		t.Fatalf("%+v", d)
	}
	s, err := n.Settle(context.Background(), d.PermitID, limiter.Costs{{Unit: "requests", Amount: 2}})
	if err != nil || s.Adjusted["key"] != -3 || s.Adjusted["acct"] != -3 {
		t.Fatalf("%+v, %v", s, err)
	}
	n.left(n.together("openai", "sk-3", "", "acct", "key"), "key", 7)
}

// Several instances that are flooded with keys count no more than the policy allows apart, and each of those always.
func testNamesFlood(t *testing.T, b Backend) {
	const most, instances, asks = 500, 3, 2000
	n := &bench{T: t, store: b.Open(t)}
	n.Coordinator = limiter.New(n.store)
	n.named(fmt.Sprintf(`"max_unknown_keys":%d`, most), `"key": {"scope":"key","kind":"rate","amount":10,"per":"1h"}`, "openai")
	var mu sync.Mutex
	apart, other := map[string]bool{}, map[string]bool{}
	var flood sync.WaitGroup
	for range instances {
		c := limiter.New(n.store)
		for part := range 4 {
			flood.Go(func() {
				for i := part; i < asks; i += 4 {
					key := "sk-" + strconv.Itoa(i)
					d, err := c.Acquire(context.Background(), limiter.Ask{Provider: "openai", Key: key, Cost: limiter.Costs{{Unit: "requests", Amount: 1}}})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if d.CountedAs() == "" {
						apart[key] = true
					} else {
						other[key] = true
					}
					mu.Unlock()
				}
			})
		}
	}
	flood.Wait()
	if len(apart) < most*98/100 || len(apart) > most*102/100 {
		t.Fatalf("%d keys are counted apart, want %d", len(apart), most)
	}
	for key := range apart {
		if _, as := n.counted(n.Coordinator, "openai", key, ""); len(as) > 0 || other[key] {
			t.Fatalf("%s has a counter, and is counted with others at %v", key, as)
		}
	}
}

// Nobody is counted with others for key ids that another chose so that their hashes are like the victim's.
func testNamesChosenToMeet(t *testing.T, b Backend) {
	const limits = `"key": {"scope":"key","kind":"rate","amount":10,"per":"1h"}`
	n := newBench(t, b, limits)
	n.named(`"max_unknown_keys":2000`, limits, "openai")
	part := func(id []byte) uint64 { // of an unkeyed hash
		sum := sha256.Sum256(append(id, 0))
		return binary.LittleEndian.Uint64(sum[:]) >> 12 % 4096
	}
	victim := limiter.KeyID("sk-victim")
	full := part([]byte(victim))
	var asks []limiter.Ask
	id := make([]byte, 0, 64)
	for i := 1 << 32; len(asks) < 70; i++ {
		id = strconv.AppendInt(append(id[:0], "k_00000000000000000000000"...), int64(i), 16)
		if part(id) == full {
			asks = append(asks, limiter.Ask{Provider: "openai", KeyID: string(id)})
		}
	}
	asks = append(asks, limiter.Ask{Provider: "openai", KeyID: victim})
	for i, r := range n.AcquireBatch(context.Background(), asks) {
		if r.Err != nil || r.Decision.CountedAs() != "" {
			t.Fatalf("key %d of %d, where 2000 may be: %+v, %v", i+1, len(asks), r.Decision, r.Err)
		}
	}
}

// An instance that decides without the store keeps to the bound as well, and so does what it charges there afterwards.
func testNamesThroughAnOutage(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, `{"max_unknown_keys":2,"limits":{"key":{"scope":"key","kind":"quota","amount":100,"per":"month"}}}`)
	as := func(key string) string { return m.ask(0, limiter.Ask{Key: key}).CountedAs() }
	if got := as("sk-a"); got != "" {
		t.Fatalf("the first key is counted as %s", got)
	}
	m.cut(true)
	for i, want := range []string{"", "", limiter.Other, limiter.Other} {
		if got := as("sk-" + string("bcde"[i])); got != want {
			t.Fatalf("the key %d of the outage is counted as %q, want %q", i+1, got, want)
		}
	}
	m.cut(false)
	m.caughtUp("key", limiter.UsageQuery{KeyID: limiter.KeyID("sk-d")}, 3) // two of the outage, and one that found no room
	apart := 0
	for _, key := range []string{"sk-b", "sk-c"} {
		u := m.usage(0, limiter.UsageQuery{KeyID: limiter.KeyID(key)})["key"]
		if u.CountedAs == "" && u.Used == 1 {
			apart++
		}
	}
	if a := m.usage(0, limiter.UsageQuery{KeyID: limiter.KeyID("sk-a")})["key"]; apart != 1 || a.CountedAs != "" || a.Used != 1 {
		t.Fatalf("%d keys of the outage are counted apart, want 1; the first key: %+v", apart, a)
	}
}
