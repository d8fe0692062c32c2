package redisstore

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// The limits of these tests are roomy and hardly drain, so that what was granted can be counted.
const roomy = `{"limits":{
	"month": {"scope":"provider","kind":"quota","amount":1000000000,"per":"month"},
	"acct":  {"scope":"pool","kind":"rate","amount":1,"per":"31d","burst":1000000000},
	"key":   {"scope":"key","kind":"rate","amount":1,"per":"31d","burst":1000000000},
	"slots": {"scope":"key","kind":"concurrency","unit":"held","amount":1000000000}}}`

// crowd asks for permits of a few keys through several instances, and counts what it was granted.
type crowd struct {
	t         *testing.T
	provider  string
	redis     func() *redistest.Server // that has the provider's keys
	instances []*limiter.Coordinator
	keys      [3]atomic.Int64 // granted
	slots     [3]atomic.Int64 // of what was granted with a hold
	holds     atomic.Int64
	settles   bool         // asks have idempotency keys, and holds are settled or cancelled: each again and again until it is answered
	repeats   int          // how often an ask is made again under its idempotency key, before it is given up
	answers   atomic.Int64 // that were decisions
	failures  atomic.Int64
	stop      chan struct{}
	clients   sync.WaitGroup
}

func newCrowd(t *testing.T, server *redistest.Server, url string, timeout time.Duration) *crowd {
	t.Helper()
	c := &crowd{t: t, provider: "p", redis: func() *redistest.Server { return server }, stop: make(chan struct{})}
	c.connect(redisclient.Config{URL: url}, timeout)
	return c
}

// connect gives the crowd its instances, and its provider a policy.
func (c *crowd) connect(config redisclient.Config, timeout time.Duration) {
	t := c.t
	t.Helper()
	for range 3 {
		s, err := Connect(config, Options{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.instances = append(c.instances, limiter.New(s))
	}
	put(t, c.instances[0], c.provider, roomy)
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

// edit keeps editing the entries of the keys, without touching what their limits are.
func (c *crowd) edit() {
	c.clients.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-c.stop:
				return
			case <-time.After(time.Millisecond):
			}
			id, label := limiter.KeyID("sk-"+strconv.Itoa(n%len(c.keys))), `{"label":"`+strconv.Itoa(n)+`"}`
			_, _ = c.instances[0].PutEntry(context.Background(), limiter.DocID{Provider: c.provider, Kind: limiter.KeyEntry, Name: id}, []byte(label), limiter.Edit{}) // may be lost
		}
	})
}

// ask asks once. Some callers are impatient.
func (c *crowd) ask(n int) {
	ctx, cost := context.Background(), 1+rand.Int64N(100)
	if rand.IntN(10) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(time.Duration(2+c.repeats)*time.Millisecond))
		defer cancel()
	}
	key := n % len(c.keys)
	ask := limiter.Ask{Provider: c.provider, Key: "sk-" + strconv.Itoa(key), Cost: limiter.Costs{{Unit: "requests", Amount: cost}}}
	if c.settles || c.repeats > 0 {
		ask.IdempotencyKey = crand.Text()
	}
	held := rand.Int64N(2) * cost
	if held > 0 {
		ask.Cost = append(ask.Cost, limiter.Cost{Unit: "held", Amount: held})
	}
	d, err := c.instances[n%len(c.instances)].Acquire(ctx, ask)
	for n := 0; err != nil && (c.settles || n < c.repeats); n++ { // on any instance, under the same key
		c.failed()
		if c.settles {
			ctx = context.Background()
		}
		d, err = c.instances[rand.IntN(len(c.instances))].Acquire(ctx, ask)
	}
	switch {
	case err != nil:
		c.failed()
		return
	case !d.Allowed:
		c.t.Error("denied")
		return
	case held > 0 && c.settles:
		cost, held = c.close(d.PermitID, cost), 0
	case held > 0:
		c.holds.Add(1)
	}
	c.keys[key].Add(cost)
	c.slots[key].Add(held)
	c.answers.Add(1)
}

// failed counts an ask without an answer, after which a client waits for a moment.
func (c *crowd) failed() {
	c.failures.Add(1)
	time.Sleep(time.Millisecond)
}

// close settles or cancels a permit on any instance until that is answered, and returns what it cost in the end.
func (c *crowd) close(permit string, cost int64) int64 {
	actual := rand.Int64N(2 * cost)
	cancel := rand.IntN(3) == 0
	if cancel {
		actual = 0
	}
	var last error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		on, s, err := c.instances[rand.IntN(len(c.instances))], (*limiter.Settlement)(nil), error(nil)
		if cancel {
			s, err = on.Cancel(context.Background(), permit)
		} else {
			s, err = on.Settle(context.Background(), permit, limiter.Costs{{Unit: "requests", Amount: actual}})
		}
		if err != nil {
			last = err
			c.failed()
			continue
		}
		c.answers.Add(1)
		if got := s.Adjusted["month"]; got != actual-cost {
			c.t.Errorf("%d became %d: adjusted %d", cost, actual, got)
		}
		return actual
	}
	c.t.Error("not settled in time:", last)
	return cost
}

// until waits for so many more answers.
func (c *crowd) until(more int64) {
	c.t.Helper()
	c.untilOf(&c.answers, more)
}

func (c *crowd) untilOf(count *atomic.Int64, more int64) {
	c.t.Helper()
	want, last, deadline := count.Load()+more, int64(0), time.Time{}
	for now := last; now < want; now = count.Load() {
		if now > last {
			last, deadline = now, time.Now().Add(20*time.Second)
		} else if !deadline.IsZero() && time.Now().After(deadline) {
			c.t.Fatalf("only %d of %d answers", now, want)
		}
		time.Sleep(time.Millisecond)
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
		if used, want, right = c.stock(); right && c.records() == c.holds.Load() {
			c.t.Logf("%d answers, %d of them errors; used %v", c.answers.Load(), c.failures.Load(), used)
			return
		}
	}
	c.t.Errorf("used %v, granted %v; %d holds are kept of %d", used, want, c.records(), c.holds.Load())
}

// records counts the holds that Redis keeps, where nothing settles them.
func (c *crowd) records() int64 {
	if c.settles {
		return c.holds.Load()
	}
	client := c.redis().Client()
	defer client.Close()
	n := int64(0)
	for scan := client.Scan(context.Background(), 0, "permitd:1:{"+c.provider+"}:h:*", 1000).Iterator(); scan.Next(context.Background()); {
		n++
	}
	return n
}

// stock compares the counters with what was granted.
func (c *crowd) stock() (used, want map[string]int64, right bool) {
	used, want, right = map[string]int64{}, map[string]int64{}, true
	for n := range c.keys {
		id := limiter.KeyID("sk-" + strconv.Itoa(n))
		u, err := c.instances[0].Usage(context.Background(), limiter.UsageQuery{Provider: c.provider, KeyID: id})
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
			if l.Name == "slots" {
				want[id+l.Name] = c.slots[n].Load()
			}
		}
	}
	for name, n := range want {
		right = right && used[name] == n
	}
	return used, want, right
}
