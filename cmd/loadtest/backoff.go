package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// How long a refused client waits beyond what it was told: a random time between 0 and a bound that doubles with each
// refusal in a row. Without it all who wait for the same limit would come back at the same moment.
const (
	firstJitter = 20 * time.Millisecond
	mostJitter  = time.Second
)

// backoff is the wait after the n-th refusal in a row, from 0: retryAfter plus full jitter.
func backoff(n int, retryAfter time.Duration, random *rand.Rand) time.Duration {
	bound := mostJitter
	if n < 6 { // 20 ms · 2^6 is more than a second
		bound = min(bound, firstJitter<<n)
	}
	return retryAfter + time.Duration(random.Int64N(int64(bound)))
}

// sleep waits until ctx ends, and then returns its error, or for d.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
