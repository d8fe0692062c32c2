package redisstore

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// The limits of these tests are roomy and hardly drain, so that what was granted can be counted.
const roomy = `{"limits":{
	"month": {"scope":"provider","kind":"quota","amount":1000000000,"per":"month"},
	"acct":  {"scope":"pool","kind":"rate","amount":1,"per":"31d","burst":1000000000},
	"key":   {"scope":"key","kind":"rate","amount":1,"per":"31d","burst":1000000000}}}`

// crowd asks for permits of a few keys through several instances, and counts what it was granted.
type crowd struct {
	t         *testing.T
	instances []*limiter.Coordinator
	keys      [3]atomic.Int64 // granted
	answers   atomic.Int64
	failures  atomic.Int64
	stop      chan struct{}
	clients   sync.WaitGroup
}

func newCrowd(t *testing.T, url string, timeout time.Duration) *crowd {
	t.Helper()
	c := &crowd{t: t, stop: make(chan struct{})}
	for range 3 {
		s, err := Connect(url, Options{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.instances = append(c.instances, limiter.New(s))
	}
	p, err := limiter.ParsePolicy([]byte(roomy))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.instances[0].PutPolicy(t.Context(), "p", p, limiter.Match{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// start sets 32 clients going.
func (c *crowd) start() {
	for n := range 32 {
		c.clients.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
					c.ask(n)
				}
			}
		})
	}
}

// ask asks once. Some callers are impatient.
func (c *crowd) ask(n int) {
	ctx, cost := context.Background(), 1+rand.Int64N(100)
	if rand.IntN(10) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(2*time.Millisecond))
		defer cancel()
	}
	key := n % len(c.keys)
	d, err := c.instances[n%len(c.instances)].Acquire(ctx, limiter.Ask{Provider: "p", Key: "sk-" + strconv.Itoa(key),
		Cost: limiter.Costs{{Unit: "requests", Amount: cost}}})
	switch {
	case err != nil:
		c.failures.Add(1)
	case !d.Allowed:
		c.t.Error("denied")
	default:
		c.keys[key].Add(cost)
	}
	c.answers.Add(1)
}

// until waits for so many more answers.
func (c *crowd) until(more int64) {
	c.t.Helper()
	for want, deadline := c.answers.Load()+more, time.Now().Add(20*time.Second); c.answers.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("only %d of %d answers", c.answers.Load(), want)
		}
	}
}

// settle ends the clients and waits until the counters hold exactly what was granted.
func (c *crowd) settle() {
	c.t.Helper()
	close(c.stop)
	c.clients.Wait()
	var used, want map[string]int64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var right bool
		if used, want, right = c.stock(); right {
			c.t.Logf("%d answers, %d of them errors; used %v", c.answers.Load(), c.failures.Load(), used)
			return
		}
	}
	c.t.Errorf("used %v, granted %v", used, want)
}

// stock compares the counters with what was granted.
func (c *crowd) stock() (used, want map[string]int64, right bool) {
	used, want, right = map[string]int64{}, map[string]int64{}, true
	for n := range c.keys {
		id := limiter.KeyID("sk-" + strconv.Itoa(n))
		u, err := c.instances[0].Usage(context.Background(), limiter.UsageQuery{Provider: "p", KeyID: id})
		if err != nil {
			return used, want, false
		}
		granted := c.keys[n].Load()
		want["month"] += granted
		for _, l := range u.Limits {
			if l.Name == "month" {
				used["month"] = l.Used
				continue
			}
			used[id+l.Name], want[id+l.Name] = l.Used, granted
		}
	}
	for name, n := range want {
		right = right && used[name] == n
	}
	return used, want, right
}

// TestPausedRedisChargesNobodyWhoWasToldOtherwise stops Redis with asks on their way, for longer than callers wait and
// longer than asks stay valid, and lets it go on.
func TestPausedRedisChargesNobodyWhoWasToldOtherwise(t *testing.T) {
	server := redistest.Start(t)
	c := newCrowd(t, server.URL(), 90*time.Millisecond)
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
	proxy := redistest.NewProxy(t, redistest.Start(t))
	c := newCrowd(t, proxy.URL(), patience)
	proxy.Lose(0.05)
	c.start()
	c.until(10_000)
	proxy.Lose(0)
	c.settle()
	if proxy.Lost() < 20 {
		t.Errorf("only %d replies lost", proxy.Lost())
	}
	t.Logf("%d replies lost", proxy.Lost())
}

// TestCrashedRedisForgetsNoGrant kills a Redis that keeps what it acknowledged.
func TestCrashedRedisForgetsNoGrant(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := newCrowd(t, server.URL(), 90*time.Millisecond)
	c.start()
	for range 3 {
		c.until(300)
		server.Kill()
		c.until(100)
		server.Run()
	}
	c.until(300)
	c.settle()
}
