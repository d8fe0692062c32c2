package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// cut is a store that can be cut off: then it gives no answer, and does nothing.
type cut struct {
	limiter.Store
	off atomic.Bool
}

var errCut = fmt.Errorf("%w: cut off", limiter.ErrStoreUnavailable)

func (s *cut) Decide(ctx context.Context, charges []*limiter.Charge) {
	if !s.off.Load() {
		s.Store.Decide(ctx, charges)
		return
	}
	for _, c := range charges {
		c.Outcome = limiter.Outcome{Err: errCut}
	}
}

func (s *cut) Hold(ctx context.Context, provider, permitID string) (limiter.Hold, error) {
	if s.off.Load() {
		return limiter.Hold{}, errCut
	}
	return s.Store.Hold(ctx, provider, permitID)
}

func (s *cut) CloseHold(ctx context.Context, k *limiter.Closing) {
	if s.off.Load() {
		k.Outcome = limiter.ClosingOutcome{Err: errCut}
		return
	}
	s.Store.CloseHold(ctx, k)
}

func (s *cut) Load(ctx context.Context, id limiter.DocID) (limiter.Record, error) {
	if s.off.Load() {
		return limiter.Record{}, errCut
	}
	return s.Store.Load(ctx, id)
}

// team are instances that share a store, each of which can be cut off.
type team struct {
	testing.TB
	links     []*cut
	instances []*limiter.Coordinator
}

func newTeam(t testing.TB, b Backend, n int, limits string) *team {
	t.Helper()
	store, team := b.Open(t), &team{TB: t}
	for range n {
		link := &cut{Store: store}
		team.links = append(team.links, link)
		team.instances = append(team.instances, limiter.New(link, limiter.StandIn(standIn), limiter.MinInstances(n)))
	}
	p, err := limiter.ParsePolicy([]byte(limits))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := team.instances[0].PutPolicy(t.Context(), provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	for i := range team.instances { // so that each has seen the policy
		team.usage(i, limiter.UsageQuery{})
	}
	return team
}

func standIn(clock func() limiter.Instant) limiter.Store {
	return memstore.New(memstore.Options{Clock: clock})
}

// cut cuts all instances off, or connects them again.
func (m *team) cut(off bool) {
	for _, link := range m.links {
		link.off.Store(off)
	}
}

func (m *team) usage(i int, q limiter.UsageQuery) map[string]limiter.LimitStatus {
	m.Helper()
	q.Provider = provider
	u, err := m.instances[i].Usage(m.Context(), q)
	if err != nil {
		m.Fatal(err)
	}
	all := map[string]limiter.LimitStatus{}
	for _, l := range u.Limits {
		all[l.Name] = l
	}
	return all
}

// ask asks one instance. It fails the test unless there is a decision.
func (m *team) ask(i int, a limiter.Ask) *limiter.Decision {
	m.Helper()
	a.Provider = provider
	d, err := m.instances[i].Acquire(m.Context(), a)
	if err != nil {
		m.Fatal(err)
	}
	return d
}

// caughtUp waits until nothing is decided without the store, and a limit shows that so much is used.
func (m *team) caughtUp(limit string, q limiter.UsageQuery, want int64) {
	m.Helper()
	var got int64
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		over := true
		for i, c := range m.instances { // what an answer shows is over
			over = over && !c.Degraded()
			m.ask(i, limiter.Ask{Key: "sk-0", Model: cmp.Or(q.Model, "any"), Cost: requests(0), DryRun: true})
		}
		if got = m.usage(0, q)[limit].Used; over && got == want {
			return
		}
	}
	m.Fatalf("%s: %d used, want %d", limit, got, want)
}

// testShares cuts three instances off: together they grant a quota, slots and a burst to the unit.
func testShares(t *testing.T, b Backend) {
	m := newTeam(t, b, 3, `{"limits":{
		"rate":{"scope":"key","kind":"rate","amount":60,"per":"31d","burst":8,"models":["rate"]},
		"quota":{"scope":"provider","kind":"quota","amount":100,"per":"month","models":["quota"]}}}`)
	m.cut(true)
	granted := map[string]int64{}
	for i := range m.instances {
		for _, model := range []string{"rate", "quota"} {
			for range 200 {
				d := m.ask(i, limiter.Ask{Key: "sk-1", Model: model})
				if !d.Degraded {
					t.Fatalf("%+v is not degraded", d)
				}
				if d.Allowed {
					granted[model]++
				} else if d.RetryAfter <= 0 || d.Limits[0].Amount == 33 {
					t.Fatalf("denied: %+v", d)
				}
			}
		}
	}
	// Without having seen each other, none of the instances takes what does not divide by three.
	if granted["rate"] != 6 || granted["quota"] != 99 {
		t.Errorf("granted %v, want 6 of a burst of 8, and 99 of a quota of 100", granted)
	}
	if _, err := m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-2", Model: "rate", Cost: requests(3)}); !errors.Is(err, limiter.ErrStoreUnavailable) {
		t.Errorf("a cost of 3, which fits the burst and not the share: %v", err)
	}
	if _, err := m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-2", Model: "rate", Cost: requests(9)}); !errors.Is(err, limiter.ErrCostExceedsLimit) {
		t.Errorf("a cost of 9, which never fits: %v", err)
	}
	m.cut(false)
	m.caughtUp("quota", limiter.UsageQuery{Model: "quota"}, 99)
	m.caughtUp("rate", limiter.UsageQuery{Model: "rate", KeyID: limiter.KeyID("sk-1")}, 6)
	for i := range m.instances {
		if d := m.ask(i, limiter.Ask{Key: "sk-2", Model: "rate"}); d.Degraded || m.instances[i].Degraded() {
			t.Errorf("instance %d is degraded still", i)
		}
	}
}

// testFailures has the policy say what is to be done.
func testFailures(t *testing.T, b Backend) {
	for _, c := range []struct {
		how     string
		granted int
		err     error
	}{{"deny", 0, limiter.ErrStoreUnavailable}, {"allow", 20, nil}, {"share", 5, nil}} {
		m := newTeam(t, b, 2, `{"on_store_failure":"`+c.how+`","limits":{"all":{"scope":"provider","kind":"quota","amount":10,"per":"month"}}}`)
		m.cut(true)
		granted := 0
		for range 20 {
			d, err := m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"})
			if !errors.Is(err, c.err) {
				t.Fatalf("%s: %v", c.how, err)
			}
			if err == nil && d.Allowed {
				granted++
			}
		}
		if granted != c.granted {
			t.Errorf("%s: %d granted, want %d", c.how, granted, c.granted)
		}
		m.cut(false)
		m.caughtUp("all", limiter.UsageQuery{}, int64(granted))
	}
}

// testKnownEntries has entries go on counting that were seen before.
func testKnownEntries(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, `{"limits":{"all":{"scope":"key","kind":"quota","amount":10,"per":"month"}}}`)
	for key, doc := range map[string]string{"sk-1": `{"disabled":true}`, "sk-2": `{"limits":{"all":{"amount":3}}}`} {
		if _, err := m.instances[0].PutEntry(t.Context(), limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: limiter.KeyID(key)}, []byte(doc), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		_, _ = m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: key, DryRun: true}) // so that it is seen
	}
	m.cut(true)
	if _, err := m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("a disabled key: %v", err)
	}
	for key, most := range map[string]int{"sk-2": 3, "sk-3": 10} {
		granted := 0
		for range 20 {
			if m.ask(0, limiter.Ask{Key: key}).Allowed {
				granted++
			}
		}
		if granted != most {
			t.Errorf("%s: %d granted, want %d", key, granted, most)
		}
	}
}

// testHoldsOfAnOutage: holds that were granted without the store are closed by whoever is asked to, and what they took is
// charged once.
func testHoldsOfAnOutage(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, `{"limits":{
		"all":{"scope":"provider","kind":"quota","unit":"tokens","amount":1000,"per":"month"},
		"slots":{"scope":"provider","kind":"concurrency","amount":10}}}`)
	hold := limiter.Ask{Key: "sk-1", Hold: true, Cost: tokens(10), TTL: 5 * time.Minute}
	stored := m.ask(0, hold).PermitID
	m.cut(true)
	var permits []string
	for range 5 {
		d := m.ask(0, hold)
		if !d.Allowed || !d.Degraded || limiter.PermitProvider(d.PermitID) != provider {
			t.Fatalf("%+v", d)
		}
		permits = append(permits, d.PermitID)
	}
	if d := m.ask(0, hold); d.Allowed {
		t.Error("an instance of two took more than 5 of 10 slots")
	}
	ctx := t.Context()
	settle := func(i int, permit string, cost, adjusted int64) {
		t.Helper()
		s, err := m.instances[i].Settle(ctx, permit, tokens(cost))
		if err != nil || s.Status != limiter.HoldSettled || s.Adjusted["all"] != adjusted || s.PermitID != permit {
			t.Errorf("settled by %d: %+v, %v", i, s, err)
		}
	}
	if _, err := m.instances[0].Settle(ctx, stored, nil); !errors.Is(err, limiter.ErrStoreUnavailable) {
		t.Errorf("a stored permit is settled without the store: %v", err)
	}
	settle(0, permits[0], 4, -6) // by whoever granted it
	settle(0, permits[0], 9, -6) // again, with another cost: the first answer
	if d := m.ask(0, hold); !d.Allowed {
		t.Error("the slot was not given back")
	} else if _, err := m.instances[0].Cancel(ctx, d.PermitID); err != nil {
		t.Error(err)
	}
	settle(1, permits[1], 25, 15) // by another
	settle(1, permits[1], 25, 15)
	if s, err := m.instances[1].Cancel(ctx, permits[2]); err != nil || s.Adjusted["all"] != -10 {
		t.Errorf("cancelled by another: %+v, %v", s, err)
	}
	if at, err := m.instances[1].ExtendHold(ctx, permits[3], 10*time.Minute); err != nil || time.Until(at) < 9*time.Minute {
		t.Errorf("extended by another: until %v, %v", at, err)
	}
	for _, wrong := range []string{permits[0] + "x", permits[0][:len(permits[0])-3], stored + "~e30", stored + "~"} {
		if _, err := m.instances[1].Settle(ctx, wrong, nil); !errors.Is(err, limiter.ErrUnknownPermit) && !errors.Is(err, limiter.ErrStoreUnavailable) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	m.cut(false)
	// The stored one 10, then 4, 25, 0, 10 and 10.
	m.caughtUp("all", limiter.UsageQuery{}, 59)
	m.caughtUp("slots", limiter.UsageQuery{}, 3)
	settle(1, permits[4], 1, -9) // handed over: anybody settles it
	settle(0, permits[4], 1, -9)
	settle(0, permits[3], 0, -10)
	settle(1, stored, 10, 0)
	m.caughtUp("all", limiter.UsageQuery{}, 40)
	m.caughtUp("slots", limiter.UsageQuery{}, 0)
}

// testOnceThroughAnOutage: what was granted under an idempotency key stays granted once.
func testOnceThroughAnOutage(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, `{"limits":{"all":{"scope":"provider","kind":"quota","amount":1000,"per":"month"}}}`)
	m.cut(true)
	plain, hold := limiter.Ask{Key: "sk-1", Cost: requests(7), IdempotencyKey: "a"}, limiter.Ask{Key: "sk-1", Cost: requests(20), Hold: true, IdempotencyKey: "b"}
	m.ask(0, plain)
	first := m.ask(0, hold)
	if d := m.ask(0, hold); !d.Replayed || d.PermitID != first.PermitID {
		t.Errorf("%+v, want a replay of %s", d, first.PermitID)
	}
	m.cut(false)
	m.caughtUp("all", limiter.UsageQuery{}, 27)
	for i := range m.instances {
		if d := m.ask(i, plain); !d.Replayed || d.Limits[0].Mode != limiter.Enforce || d.Limits[0].Cost != 7 {
			t.Errorf("instance %d: %+v is no replay", i, d)
		}
		d := m.ask(i, hold)
		if !d.Replayed {
			t.Errorf("instance %d: %+v is no replay", i, d)
		}
		if s, err := m.instances[i].Settle(t.Context(), d.PermitID, requests(5)); err != nil || s.Adjusted["all"] != -15 {
			t.Errorf("instance %d: %+v, %v", i, s, err)
		}
	}
	m.caughtUp("all", limiter.UsageQuery{}, 12)
}

// testOutagesComeAndGo: however often and whenever the store is cut off, all that was granted is charged once, in the end.
func testOutagesComeAndGo(t *testing.T, b Backend) {
	m := newTeam(t, b, 3, `{"limits":{
		"all":{"scope":"provider","kind":"quota","unit":"tokens","amount":100000000,"per":"month"},
		"slots":{"scope":"key","kind":"concurrency","amount":1000000,"models":["slots"]}}}`)
	var used atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for n := range 9 {
		clients.Go(func() {
			for turn := 0; ; turn++ {
				select {
				case <-stop:
					return
				default:
				}
				a := limiter.Ask{Provider: provider, Key: fmt.Sprint("sk-", turn%5), Model: []string{"slots", "other"}[turn%2], Cost: limiter.Costs{{Unit: "tokens", Amount: int64(turn%7) + 1}}, Hold: turn%3 == 0}
				d, err := m.instances[(n+turn)%3].Acquire(context.Background(), a)
				if err != nil || !d.Allowed {
					t.Errorf("%+v, %v", d, err)
					return
				}
				used.Add(int64(turn%7) + 1)
				for d.PermitID != "" {
					s, err := m.instances[(n+turn+turn%4)%3].Settle(context.Background(), d.PermitID, limiter.Costs{{Unit: "tokens", Amount: 3}})
					if errors.Is(err, limiter.ErrStoreUnavailable) {
						time.Sleep(time.Millisecond)
						continue
					}
					if err != nil {
						t.Errorf("settle: %v", err)
						return
					}
					used.Add(s.Adjusted["all"])
					break
				}
			}
		})
	}
	for range 20 {
		for i := range m.links {
			m.links[i].off.Store(!m.links[i].off.Load())
			time.Sleep(7 * time.Millisecond)
		}
	}
	m.cut(false)
	close(stop)
	clients.Wait()
	m.caughtUp("all", limiter.UsageQuery{Model: "other"}, used.Load())
	for n := range 5 {
		m.caughtUp("slots", limiter.UsageQuery{Model: "slots", KeyID: limiter.KeyID(fmt.Sprint("sk-", n))}, 0)
	}
}
