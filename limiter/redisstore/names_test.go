package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// sixteen are limits of all scopes and kinds, as many as may apply to an ask, each of which counts models apart.
func sixteen() string {
	var limits []string
	for i := range 8 {
		limits = append(limits, fmt.Sprintf(`"r%d": {"scope":"key","kind":"rate","amount":1000,"per":"1m","per_model":true}`, i))
	}
	for i := range 4 {
		limits = append(limits, fmt.Sprintf(`"q%d": {"scope":"pool","kind":"quota","amount":1000,"per":"day","per_model":true}`, i))
	}
	for i := range 4 {
		limits = append(limits, fmt.Sprintf(`"p%d": {"scope":"provider","kind":"rate","amount":1000000,"per":"1m","per_model":true}`, i))
	}
	return strings.Join(limits, ",")
}

// flooded asks for so many permits, each by a key and a model that nobody has named before, and returns how many bytes Redis
// keeps for them.
func flooded(t testing.TB, bounds string, asks int) int64 {
	t.Helper()
	server := redistest.Start(t)
	c := limiter.New(open(t, server, Options{Timeout: patience}))
	put(t, c, "p", `{`+bounds+`"limits":{`+sixteen()+`}}`)
	client := server.Client()
	defer client.Close()
	batch := make([]limiter.Ask, 0, 100)
	for i := range asks {
		batch = append(batch, limiter.Ask{Provider: "p", Key: "sk-" + strconv.Itoa(i), Model: "model-" + strconv.Itoa(i)})
		if len(batch) < cap(batch) {
			continue
		}
		for _, r := range c.AcquireBatch(context.Background(), batch) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		batch = batch[:0]
	}
	names, err := client.Keys(context.Background(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	stored := int64(0)
	for _, name := range names {
		stored += client.MemoryUsage(context.Background(), name).Val()
	}
	return stored
}

// A permits token can't fill Redis: what it stores does not grow with what it sends.
func TestFloodOfNamesIsBounded(t *testing.T) {
	const bounds, sent = `"max_unknown_keys":100,"max_models":50,`, 140 // bytes of a request's body, about
	small, large := flooded(t, bounds, 2000), flooded(t, bounds, 8000)
	t.Logf("%d B stored for %d B sent, %d B for %d B", small, 2000*sent, large, 8000*sent)
	if large > small+small/10 {
		t.Fatalf("%d bytes are stored for 2000 names, %d for 8000", small, large)
	}
}

// Counters live as long as they need to, not a day more.
func TestCountersLiveByTheirDrainTime(t *testing.T) {
	server := redistest.Start(t)
	c := limiter.New(open(t, server, Options{Timeout: patience}))
	put(t, c, "p", `{"hold_ttl":"30s","limits":{
		"second": {"scope":"key","kind":"rate","amount":10,"per":"1s"},
		"minute": {"scope":"key","kind":"rate","amount":10,"per":"1m"},
		"day":    {"scope":"key","kind":"rate","amount":10,"per":"1d"},
		"slots":  {"scope":"key","kind":"concurrency","amount":10}}}`)
	ask := limiter.Ask{Provider: "p", Key: "sk-1", Cost: limiter.Costs{{Unit: "requests", Amount: 10}}}
	if d, err := c.Acquire(context.Background(), ask); err != nil || !d.Allowed {
		t.Fatalf("%+v, %v", d, err)
	}
	client := server.Client()
	defer client.Close()
	for limit, life := range map[string][2]time.Duration{
		":c:*/second@*": {2 * time.Minute, 123 * time.Second},
		":c:*/minute@*": {18 * time.Minute, 20 * time.Minute},
		":c:*/day@*":    {71 * time.Hour, 73 * time.Hour},
		":c:*/slots@*":  {20 * time.Second, 31 * time.Second},
		":s:*/slots@*":  {20 * time.Second, 31 * time.Second},
	} {
		names, err := client.Keys(context.Background(), "permitd:*"+limit).Result()
		if err != nil || len(names) != 1 {
			t.Fatalf("%s: %v, %v", limit, names, err)
		}
		if ttl := client.PTTL(context.Background(), names[0]).Val(); ttl < life[0]-10*time.Second || ttl > life[1] {
			t.Errorf("%s lives for %v, want %v to %v", limit, ttl, life[0], life[1])
		}
	}
}

// A hold that is settled when its counter was forgotten, and another made, takes nothing from that.
func TestNothingIsRefundedOfAnotherCounter(t *testing.T) {
	server := redistest.Start(t)
	c := limiter.New(open(t, server, Options{Timeout: patience}))
	put(t, c, "p", `{"limits":{"key": {"scope":"key","kind":"rate","amount":1000,"per":"31d"}}}`)
	ask := limiter.Ask{Provider: "p", Key: "sk-1", Hold: true, Cost: limiter.Costs{{Unit: "requests", Amount: 10}}}
	held, err := c.Acquire(context.Background(), ask)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	defer client.Close()
	names, err := client.Keys(context.Background(), "permitd:*:c:*").Result()
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	value, err := client.Get(context.Background(), names[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	// As if it had been made two seconds later than it was.
	later := []byte(value)
	later[50] += 2
	if err := client.SetArgs(context.Background(), names[0], later, redis.SetArgs{KeepTTL: true}).Err(); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Cancel(context.Background(), held.PermitID); err != nil || s.Adjusted["key"] != 0 {
		t.Fatalf("%+v, %v: a charge to a counter that was forgotten was refunded", s, err)
	}
}
