package storetest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// hold asks for a permit of the key "sk-1" with a hold, and expects one.
func (n *bench) hold(ttl time.Duration, cost limiter.Costs) string {
	n.Helper()
	d := n.askFor(limiter.Ask{Key: "sk-1", Cost: cost, Hold: true, TTL: ttl})
	if !d.Allowed || d.PermitID == "" {
		n.Fatalf("at %s: %+v", n.now.Time(), d)
	}
	return d.PermitID
}

func requests(amount int64) limiter.Costs { return limiter.Costs{{Unit: "requests", Amount: amount}} }

// settle settles and expects what it does by limit.
func (n *bench) settle(permit string, actual limiter.Costs, adjusted, uncharged map[string]int64) *limiter.Settlement {
	n.Helper()
	s, err := n.Settle(context.Background(), permit, actual)
	n.expect(s, err, limiter.HoldSettled, adjusted, uncharged)
	return s
}

func (n *bench) cancel(permit string, adjusted map[string]int64) *limiter.Settlement {
	n.Helper()
	s, err := n.Cancel(context.Background(), permit)
	n.expect(s, err, limiter.HoldCancelled, adjusted, nil)
	return s
}

func (n *bench) expect(s *limiter.Settlement, err error, status limiter.HoldStatus, adjusted, uncharged map[string]int64) {
	n.Helper()
	if err != nil {
		n.Fatalf("at %s: %v", n.now.Time(), err)
	}
	if s.Status != status || !maps.Equal(s.Adjusted, adjusted) || !maps.Equal(s.Uncharged, uncharged) {
		n.Fatalf("at %s: %+v, want adjusted %v, uncharged %v", n.now.Time(), s, adjusted, uncharged)
	}
}

type by = map[string]int64

func testSettle(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "1d")+`, "rpm": {"scope":"provider","kind":"rate","amount":60,"per":"1m","burst":600}`)
	p := n.hold(0, requests(100))
	n.remaining("rpd", 900)
	n.settle(p, requests(30), by{"rpd": -70, "rpm": -70}, nil)
	n.remaining("rpd", 970)
	for range 2 { // the first answer, and no more
		n.settle(p, requests(99), by{"rpd": -70, "rpm": -70}, nil)
	}
	n.remaining("rpd", 970)
	ctx := context.Background()
	if _, err := n.Cancel(ctx, p); !errors.Is(err, limiter.ErrPermitClosed) {
		t.Errorf("cancelled after it was settled: %v", err)
	}
	if _, err := n.ExtendHold(ctx, p, time.Minute); !errors.Is(err, limiter.ErrPermitClosed) {
		t.Errorf("extended after it was settled: %v", err)
	}
	p = n.hold(0, requests(100))
	n.at(10 * time.Second) // 10 of what rpm holds have drained, all of them of the first
	n.settle(p, nil, nil, nil)
	n.remaining("rpd", 870)
	p = n.hold(0, requests(0))
	n.settle(p, requests(5), by{"rpd": 5, "rpm": 5}, nil)
	n.remaining("rpd", 865)
	d := n.askFor(limiter.Ask{Key: "sk-1", Hold: true, DryRun: true})
	if d.PermitID != "" {
		t.Error("a dry run made a hold")
	}
	for _, id := range []string{"p_openai_0123456789abcdefghijkl", "p_", "", "p_openai", "nonsense", "p_openai_/123456789abcdefghijkl"} {
		if _, err := n.Settle(ctx, id, nil); !errors.Is(err, limiter.ErrUnknownPermit) {
			t.Errorf("settled %q: %v", id, err)
		}
	}
}

func testSettleBeyond(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "10d")+`,
		"rpm": {"scope":"key","kind":"quota","amount":1000,"per":"day"},
		"dark": {"scope":"key","kind":"quota","amount":10,"per":"day","mode":"shadow"}`)
	p := n.hold(0, requests(900))
	n.settle(p, requests(2500), by{"rpd": 1100, "rpm": 1100, "dark": 1600}, by{"rpd": 500, "rpm": 500})
	n.remaining("rpd", 0)
	n.deny(1, 24*10*time.Hour+864*time.Second) // 1001 of 1000 in 10 days
}

func testCancelHold(t *testing.T, b Backend) {
	n := newBench(t, b, rate("3600", "1h")) // one a second
	first, second := n.hold(0, requests(100)), n.hold(0, requests(100))
	n.at(30 * time.Second)
	n.cancel(first, by{"rpd": -70})
	n.at(40 * time.Second)
	n.cancel(second, by{"rpd": -90})
	n.cancel(second, by{"rpd": -90})
	n.remaining("rpd", 3600)
	if _, err := n.Settle(context.Background(), first, nil); !errors.Is(err, limiter.ErrPermitClosed) {
		t.Errorf("settled after it was cancelled: %v", err)
	}
	// 2,000,000 a minute, 960 holds of 8,000, all cancelled at once after their charge has drained.
	n = newBench(t, b, rate("2000000", "1m"))
	var permits []string
	for i := range 96 {
		n.at(time.Duration(i) * 250 * time.Millisecond)
		permits = append(permits, n.hold(0, requests(8000)))
	}
	n.at(96*250*time.Millisecond + time.Minute)
	for _, p := range permits {
		n.cancel(p, nil)
	}
	n.remaining("rpd", 2000000)
}

func testCancelAcrossWindows(t *testing.T, b Backend) {
	n := newBench(t, b, `"rpd": {"scope":"key","kind":"quota","amount":1000,"per":"hour"}`)
	p, q := n.hold(2*time.Hour, requests(100)), n.hold(2*time.Hour, requests(100))
	n.at(59 * time.Minute)
	n.cancel(p, by{"rpd": -100})
	n.remaining("rpd", 900)
	n.at(time.Hour)
	n.grant(50)
	n.cancel(q, nil)
	n.remaining("rpd", 950)
}

func testHoldTimes(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d"))
	if _, err := n.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-1", Hold: true, TTL: 2*time.Hour + 1}); !errors.Is(err, limiter.ErrInvalid) {
		t.Errorf("a hold longer than hold_ttl: %v", err)
	}
	d := n.askFor(limiter.Ask{Key: "sk-1", Hold: true, TTL: time.Minute})
	if want := n.now.Time().Add(time.Minute); !d.Expires.Equal(want) {
		t.Errorf("expires at %v, want %v", d.Expires, want)
	}
	n.at(30 * time.Second)
	for _, ttl := range []time.Duration{10 * time.Second, 45 * time.Second, 24 * time.Hour, time.Second} {
		at, err := n.ExtendHold(ctx, d.PermitID, ttl)
		want := max(d.Expires.Sub(start.Time()), min(30*time.Second+ttl, 24*time.Hour))
		if d.Expires = at; err != nil || at.Sub(start.Time()) != want {
			t.Errorf("extended by %v: until %v after the start, want %v; %v", ttl, at.Sub(start.Time()), want, err)
		}
	}
	late := n.hold(time.Minute, requests(100))
	n.at(2 * time.Minute)
	if _, err := n.ExtendHold(ctx, late, time.Minute); !errors.Is(err, limiter.ErrPermitClosed) {
		t.Errorf("extended after it expired: %v", err)
	}
	if s := n.settle(late, requests(10), by{"rpd": -90}, nil); !s.Late {
		t.Error("not late")
	}
	n.at(90*time.Second + 2*time.Hour - time.Microsecond)
	n.settle(late, requests(10), by{"rpd": -90}, nil)
	n.at(90*time.Second + 2*time.Hour)
	if _, err := n.Settle(ctx, late, nil); !errors.Is(err, limiter.ErrUnknownPermit) {
		t.Errorf("settled hold_ttl after it expired: %v", err)
	}
	for _, ttl := range []time.Duration{-1, 0, 25 * time.Hour} {
		if _, err := n.ExtendHold(ctx, d.PermitID, ttl); !errors.Is(err, limiter.ErrInvalid) {
			t.Errorf("extended by %v: %v", ttl, err)
		}
	}
}

func testSettleAfterEdits(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "10d")+`, "gone": {"scope":"key","kind":"rate","amount":1000,"per":"10d"}, "other": {"scope":"key","kind":"rate","amount":1000,"per":"10d"}`)
	p := n.hold(0, requests(100))
	n.put(rate("2000", "20d") + `, "new": {"scope":"key","kind":"rate","amount":1000,"per":"10d"}, "other": {"scope":"key","kind":"quota","amount":1000,"per":"day"}`)
	n.settle(p, requests(40), by{"rpd": -60, "gone": -60}, nil)
	n.remaining("rpd", 1960)
	n.remaining("new", 1000)
	n.remaining("other", 1000)
	p = n.hold(0, requests(100)) // now the key leaves its pool of its own, and is disabled
	id := limiter.KeyID("sk-1")
	if _, err := n.PutEntry(context.Background(), limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: id}, []byte(`{"disabled":true,"limits":{"rpd":{"amount":500}}}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	n.settle(p, requests(200), by{"rpd": 100, "new": 100, "other": 100}, nil)
	n.remaining("rpd", 500-240)
}

func testSettleUnits(t *testing.T, b Backend) {
	n := newBench(t, b, `
		"in":  {"scope":"key","kind":"rate","unit":"in","amount":1000,"per":"10d"},
		"all": {"scope":"key","kind":"rate","unit":"tokens","counts":{"in":1,"out":5},"reserve_counts":{"in":1,"out":1},"amount":1000,"per":"10d"},
		"out": {"scope":"key","kind":"rate","unit":"out","reserve_counts":{"out":0},"amount":1000,"per":"10d"},
		"def": {"scope":"key","kind":"rate","unit":"images","default_cost":7,"amount":1000,"per":"10d"},
		"rpd": {"scope":"key","kind":"rate","amount":1000,"per":"10d"}`)
	p := n.hold(0, costs("in", 100, "out", 50))
	n.remaining("all", 850)
	n.remaining("out", 1000)
	n.settle(p, costs("out", 20), by{"all": -50 + 100, "out": 20}, nil)
	p = n.hold(0, costs("in", 100, "out", 50))
	n.settle(p, costs("in", 0, "images", 3), by{"in": -100, "all": -100, "def": -4}, nil)
	p = n.hold(0, costs("in", 1))
	n.settle(p, costs("requests", 0, "nobody", 5), by{"rpd": -1}, nil)
	for _, c := range []limiter.Costs{costs("in", -1), costs("in", 1, "in", 2), costs("IN", 1)} {
		if _, err := n.Settle(context.Background(), p, c); !errors.Is(err, limiter.ErrInvalid) {
			t.Errorf("settled to %v: %v", c, err)
		}
	}
}

// testCloseOnce has many settle and cancel the same holds at the same time: each hold is closed once, and everybody is
// told the same.
func testCloseOnce(t *testing.T, b Backend) {
	store := b.Open(t)
	c := limiter.New(store)
	p := policy(t, `"all": {"scope":"provider","kind":"quota","amount":1000000,"per":"month"}`)
	ctx := context.Background()
	if _, err := c.PutPolicy(ctx, provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	for i := range 30 {
		d, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-" + strconv.Itoa(i), Cost: requests(100), Hold: true})
		if err != nil {
			t.Fatal(err)
		}
		var settled, cancelled atomic.Int64
		var wg sync.WaitGroup
		for j := range 8 {
			wg.Go(func() {
				if j%2 == 0 {
					if s, err := c.Settle(ctx, d.PermitID, requests(40)); err == nil && s.Adjusted["all"] == -60 {
						settled.Add(1)
					} else if !errors.Is(err, limiter.ErrPermitClosed) {
						t.Errorf("settled: %+v, %v", s, err)
					}
				} else if s, err := c.Cancel(ctx, d.PermitID); err == nil && s.Adjusted["all"] == -100 {
					cancelled.Add(1)
				} else if !errors.Is(err, limiter.ErrPermitClosed) {
					t.Errorf("cancelled: %+v, %v", s, err)
				}
			})
		}
		wg.Wait()
		if settled.Load()+cancelled.Load() != 4 || settled.Load() != 0 && cancelled.Load() != 0 {
			t.Errorf("%d were told that it was settled, %d that it was cancelled", settled.Load(), cancelled.Load())
		}
		if settled.Load() > 0 {
			want += 40
		}
	}
	u, err := c.Usage(ctx, limiter.UsageQuery{Provider: provider})
	if err != nil || u.Limits[0].Used != want {
		t.Errorf("used %+v, want %d; %v", u.Limits, want, err)
	}
}
