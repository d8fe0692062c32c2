package storetest

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func testOnce(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d")+`,
		"m":    {"scope":"provider","kind":"rate","amount":7,"per":"1m","burst":100,"per_model":true},
		"rpm":  {"scope":"pool","kind":"quota","amount":100,"per":"hour"},
		"dark": {"scope":"key","kind":"rate","amount":1,"per":"1h","mode":"shadow"},
		"slot": {"scope":"key","kind":"concurrency","amount":60}`)
	ask := limiter.Ask{Provider: provider, Key: "sk-1", Model: "m", Caller: "app", IdempotencyKey: "k-1", TTL: time.Minute, Hold: true,
		Cost: limiter.Costs{{Unit: "requests", Amount: 30}, {Unit: "nobody", Amount: 1}}}
	first := n.askFor(ask)
	if !first.Allowed || first.Replayed || first.PermitID == "" {
		t.Fatalf("%+v", first)
	}
	n.at(30 * time.Second)
	n.put(rate("10", "10d")) // the answer stays, whatever the policy has become
	again := n.askFor(ask)
	if !again.Replayed {
		t.Error("not replayed")
	}
	if again.Replayed = false; !reflect.DeepEqual(again, first) {
		t.Errorf("replayed\n%+v, first\n%+v", again, first)
	}
	n.put(rate("1000", "10d"))
	n.remaining("rpd", 970)

	other := ask
	other.Cost = requests(31)
	if _, err := n.Acquire(ctx, other); !errors.Is(err, limiter.ErrIdempotencyMismatch) {
		t.Errorf("another ask under the key: %v", err)
	}
	for name, change := range map[string]func(*limiter.Ask){
		"another key":    func(a *limiter.Ask) { a.IdempotencyKey = "k-2" },
		"another caller": func(a *limiter.Ask) { a.Caller = "other" },
	} {
		a := ask
		if change(&a); n.askFor(a).Replayed {
			t.Errorf("%s: replayed", name)
		}
	}
	n.remaining("rpd", 910)
	n.at(10*time.Minute - time.Microsecond)
	if !n.askFor(ask).Replayed {
		t.Error("forgotten before 10 minutes")
	}
	n.at(11 * time.Minute)
	if n.askFor(ask).Replayed {
		t.Error("remembered after 10 minutes")
	}
}

func testOnceLeavesDenialsAlone(t *testing.T, b Backend) {
	n := newBench(t, b, rate("10", "10s"))
	ask := func(key string, cost int64) *limiter.Decision {
		return n.askFor(limiter.Ask{Key: "sk-1", IdempotencyKey: key, Cost: requests(cost)})
	}
	ask("a", 10)
	if d := ask("b", 5); d.Allowed {
		t.Fatal("granted")
	}
	n.at(5 * time.Second)
	if d := ask("b", 5); !d.Allowed || d.Replayed {
		t.Errorf("%+v", d)
	}
	if d := n.askFor(limiter.Ask{Key: "sk-1", IdempotencyKey: "c", DryRun: true, Cost: requests(0)}); d.Replayed {
		t.Errorf("%+v", d)
	}
	if d := ask("c", 0); d.Replayed {
		t.Error("a dry run was remembered")
	}
}

// testOnceTogether has many ask the same at the same time, alone and within one batch: one is charged.
func testOnceTogether(t *testing.T, b Backend) {
	store := b.Open(t)
	ctx := context.Background()
	instances := []*limiter.Coordinator{limiter.New(store), limiter.New(store)}
	p := policy(t, `"all": {"scope":"provider","kind":"quota","amount":1000000,"per":"month"}`)
	if _, err := instances[0].PutPolicy(ctx, provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		ask := limiter.Ask{Provider: provider, Key: "sk-1", IdempotencyKey: strconv.Itoa(i), Hold: true, Cost: requests(10)}
		var mu sync.Mutex
		permits, fresh := map[string]bool{}, 0
		var wg sync.WaitGroup
		for j := range 8 {
			wg.Go(func() {
				for _, r := range instances[j%2].AcquireBatch(ctx, []limiter.Ask{ask, ask}) {
					mu.Lock()
					if r.Err != nil || !r.Decision.Allowed {
						t.Errorf("%+v", r)
					} else if permits[r.Decision.PermitID] = true; !r.Decision.Replayed {
						fresh++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(permits) != 1 || fresh != 1 {
			t.Errorf("%d permits, %d of them not replayed", len(permits), fresh)
		}
	}
	u, err := instances[0].Usage(ctx, limiter.UsageQuery{Provider: provider})
	if err != nil || u.Limits[0].Used != 200 {
		t.Errorf("used %+v, want 200; %v", u.Limits, err)
	}
}

// testOnceExtended: a grant is remembered for as long as its hold lives.
func testOnceExtended(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "10d"))
	ask := limiter.Ask{Key: "sk-1", IdempotencyKey: "k", TTL: time.Minute, Hold: true}
	first := n.askFor(ask)
	if _, err := n.ExtendHold(context.Background(), first.PermitID, 20*time.Minute); err != nil {
		t.Fatal(err)
	}
	n.at(20*time.Minute - time.Microsecond)
	if again := n.askFor(ask); !again.Replayed || again.PermitID != first.PermitID {
		t.Errorf("%+v", again)
	}
	n.at(20 * time.Minute)
	if n.askFor(ask).Replayed {
		t.Error("remembered after the hold had expired")
	}
}
