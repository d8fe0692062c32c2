package redisstore

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestSingleLimitAgreesWithRedisRate asks for the same costs of one limit here and of redis_rate, which keeps GCRA in its
// virtual scheduling form: the time at which a counter will be empty, not what it holds. The limits are so slow that no
// unit drains between the two questions.
func TestSingleLimitAgreesWithRedisRate(t *testing.T) {
	const key = "sk-1"
	s := open(t, redistest.Shared(t), Options{Timeout: patience, noDenials: true})
	client := redistest.Shared(t).Client()
	defer client.Close()
	c, reference, ctx := limiter.New(s), redis_rate.NewLimiter(client), context.Background()
	for scenario := range 20 {
		provider := "p" + strconv.Itoa(scenario)
		amount, burst := 1+mathrand.IntN(50), 1+mathrand.IntN(100)
		put(t, c, provider, `{"limits":{"l":{"scope":"key","kind":"rate","per":"10h","amount":`+strconv.Itoa(amount)+
			`,"burst":`+strconv.Itoa(burst)+`}}}`)
		limit, name := redis_rate.Limit{Rate: amount, Burst: burst, Period: 10 * time.Hour}, rand.Text()
		apart := time.Duration(0) // by so much the two may have begun to drain at different times
		for range 40 {
			cost := 1 + mathrand.IntN(min(burst, 9))
			begin := time.Now()
			want, err := reference.AllowN(ctx, name, limit, cost)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Acquire(ctx, limiter.Ask{Provider: provider, Key: key, Cost: limiter.Costs{{Unit: "requests", Amount: int64(cost)}}})
			if err != nil {
				t.Fatal(err)
			}
			apart = max(apart, time.Since(begin)+time.Millisecond)
			l := got.Limits[0]
			// redis_rate reckons in seconds as doubles, so a cost that just fits may miss by some 1e-8 of a unit.
			if got.Allowed != (want.Allowed == cost) {
				if got.Allowed && l.Remaining == 0 {
					break
				}
				t.Fatalf("%d per 10h, burst %d, cost %d: allowed %v, redis_rate %+v", amount, burst, cost, got.Allowed, want)
			}
			if less := l.Remaining - int64(want.Remaining); got.Allowed && less != 0 && less != 1 { // with a denial redis_rate says 0
				t.Fatalf("%d per 10h, burst %d, cost %d: %d remaining, redis_rate %d", amount, burst, cost, l.Remaining, want.Remaining)
			}
			if d := (l.Reset - want.ResetAfter).Abs(); d > apart {
				t.Fatalf("reset after %v, redis_rate %v", l.Reset, want.ResetAfter)
			}
			if d := (l.RetryAfter - max(0, want.RetryAfter)).Abs(); d > apart {
				t.Fatalf("retry after %v, redis_rate %v", l.RetryAfter, want.RetryAfter)
			}
		}
	}
}

// TestDrainAgreesWithRedisRate has both drain while they are asked as fast as they answer.
func TestDrainAgreesWithRedisRate(t *testing.T) {
	s := open(t, redistest.Shared(t), Options{Timeout: patience})
	client := redistest.Shared(t).Client()
	defer client.Close()
	c, reference, ctx := limiter.New(s), redis_rate.NewLimiter(client), context.Background()
	put(t, c, "drain", `{"limits":{"l":{"scope":"key","kind":"rate","per":"1s","amount":700,"burst":20}}}`)
	ours, theirs, name := 0, 0, rand.Text()
	for begin := time.Now(); time.Since(begin) < 500*time.Millisecond; {
		d, err := c.Acquire(ctx, limiter.Ask{Provider: "drain", Key: "sk-1"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			ours++
		}
		r, err := reference.Allow(ctx, name, redis_rate.Limit{Rate: 700, Burst: 20, Period: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		theirs += r.Allowed
	}
	if d := ours - theirs; d < -3 || d > 3 {
		t.Errorf("%d granted, redis_rate %d", ours, theirs)
	}
}
