package limiter_test

import (
	"context"
	"fmt"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

func Example() {
	ctx := context.Background()
	c := limiter.New(memstore.New(memstore.Options{}))
	policy, err := limiter.ParsePolicy([]byte(`{"limits": {
		"rpm": {"scope": "key", "kind": "rate", "amount": 2, "per": "1m"}}}`))
	if err != nil {
		panic(err)
	}
	if _, err := c.PutPolicy(ctx, "openai", policy, limiter.Edit{}); err != nil {
		panic(err)
	}
	for range 3 {
		d, err := c.Acquire(ctx, limiter.Ask{Provider: "openai", Key: "sk-1"})
		fmt.Println(err, d.Allowed, d.Violated(), d.RetryAfter.Round(1e9))
	}
	// Output:
	// <nil> true [] 0s
	// <nil> true [] 0s
	// <nil> false [rpm] 30s
}
