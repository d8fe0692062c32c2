package redisstore

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestPausedRedisChargesNobodyWhoWasToldOtherwise stops Redis with asks on their way, for longer than callers wait and
// longer than asks stay valid, and lets it go on.
func TestPausedRedisChargesNobodyWhoWasToldOtherwise(t *testing.T) {
	server := redistest.Start(t)
	c := newCrowd(t, server, server.URL(), 90*time.Millisecond)
	c.start()
	c.until(500)
	for _, pause := range []time.Duration{150 * time.Millisecond, 1200 * time.Millisecond} {
		server.Pause()
		time.Sleep(pause) // what is tested is the pause
		server.Resume()
		c.until(500)
	}
	c.settle()
	if c.failures.Load() == 0 {
		t.Error("nobody ran out of time")
	}
}

// TestLostRepliesChargeNobody cuts connections after Redis has decided.
func TestLostRepliesChargeNobody(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	c := newCrowd(t, server, proxy.URL(), patience)
	proxy.Lose(0.05)
	c.start()
	c.edit()
	c.until(10_000)
	proxy.Lose(0)
	c.settle()
	if proxy.Lost() < 20 {
		t.Errorf("only %d replies lost", proxy.Lost())
	}
	t.Logf("%d replies lost", proxy.Lost())
}

// TestLostRepliesOfGivenUpAsks has callers ask once more under their idempotency key, and give up when that is lost too.
func TestLostRepliesOfGivenUpAsks(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	c := newCrowd(t, server, proxy.URL(), patience)
	c.repeats = 1
	proxy.Lose(0.1)
	c.start()
	c.edit()
	c.until(10_000)
	proxy.Lose(0)
	c.settle()
	t.Logf("%d replies lost", proxy.Lost())
}

// TestCrashedRedisForgetsNoGrant kills a Redis that keeps what it acknowledged.
func TestCrashedRedisForgetsNoGrant(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := newCrowd(t, server, server.URL(), 90*time.Millisecond)
	c.start()
	for range 3 {
		c.until(300)
		server.Kill()
		c.untilOf(&c.failures, 100)
		server.Run()
	}
	c.until(300)
	c.settle()
}

// TestLostRepliesTakeEffectOnce acquires, settles and cancels through a connection that loses replies, on whichever
// instance, and tries again until there is an answer. PERMITD_ASKS says how many answers to wait for.
func TestLostRepliesTakeEffectOnce(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	c := newCrowd(t, server, proxy.URL(), patience)
	c.settles = true
	proxy.Lose(0.05)
	c.start()
	c.until(int64(environment(t, "PERMITD_ASKS", 8_000)))
	proxy.Lose(0)
	c.settle()
	t.Logf("%d replies lost", proxy.Lost())
}

// TestSlotsOfTheDeadComeBack leaves thousands of holds open, with an instance that ends too, and waits until their slots
// are free, with nobody doing anything about it.
func TestSlotsOfTheDeadComeBack(t *testing.T) {
	holders := environment(t, "PERMITD_HOLDERS", 2000)
	server := redistest.Shared(t)
	dying := open(t, server, Options{Timeout: patience})
	c := limiter.New(dying)
	put(t, c, "p", `{"limits":{"slots":{"scope":"provider","kind":"concurrency","amount":`+strconv.Itoa(holders)+`}}}`)
	const ttl = 1500 * time.Millisecond
	asks := make([]limiter.Ask, holders)
	for i := range asks {
		asks[i] = limiter.Ask{Provider: "p", Key: "sk-" + strconv.Itoa(i), Hold: true, TTL: ttl}
	}
	for some := range slices.Chunk(asks, 1000) {
		for i, r := range c.AcquireBatch(t.Context(), some) {
			if r.Err != nil || !r.Decision.Allowed {
				t.Fatalf("%d: %+v", i, r)
			}
		}
	}
	granted := time.Now()
	dying.Close()
	other := limiter.New(open(t, server, Options{Prefix: dying.keys.prefix, Timeout: patience}))
	for {
		d, err := other.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-after", Cost: limiter.Costs{{Unit: "requests", Amount: int64(holders)}}})
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			break
		}
		if time.Since(granted) > ttl+time.Second {
			t.Fatalf("%v after the last: %+v", time.Since(granted), d)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("all slots were free %v after the last was taken for %v", time.Since(granted).Round(time.Millisecond), ttl)
}
