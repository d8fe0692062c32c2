package main

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// providerLimit is how a mock provider counts. Times are those of one clock that never steps back.
type providerLimit interface {
	// take counts tokens that arrive at now, or says after how long they would fit if nothing else came.
	take(now time.Duration, tokens int64) (ok bool, retryAfter time.Duration)
	// most is the most tokens that one call may ever have.
	most() int64
}

// tokenBucket fills up at amount per per and holds at most burst. It is exact to the nanosecond: what is left over of a
// token is kept in parts of 1/per.
type tokenBucket struct {
	amount, burst int64
	per           time.Duration

	tokens, part int64
	last         time.Duration
}

func newTokenBucket(amount int64, per time.Duration, burst int64) *tokenBucket {
	return &tokenBucket{amount: amount, burst: burst, per: per, tokens: burst}
}

func (b *tokenBucket) most() int64 { return b.burst }

func (b *tokenBucket) take(now time.Duration, tokens int64) (bool, time.Duration) {
	b.fill(now)
	if tokens <= b.tokens {
		b.tokens -= tokens
		return true, 0
	}
	return false, b.until(min(tokens, b.burst))
}

// fill lets time pass.
func (b *tokenBucket) fill(now time.Duration) {
	elapsed := now - b.last
	b.last = now
	if elapsed <= 0 || b.tokens == b.burst {
		return
	}
	if elapsed >= b.until(b.burst) {
		b.tokens, b.part = b.burst, 0
		return
	}
	// elapsed·amount/per is less than burst here, so the division can't overflow.
	hi, lo := bits.Mul64(uint64(elapsed), uint64(b.amount))
	lo, carry := bits.Add64(lo, uint64(b.part), 0)
	whole, part := bits.Div64(hi+carry, lo, uint64(b.per))
	b.tokens, b.part = b.tokens+int64(whole), int64(part)
}

// until is the time until there are so many tokens, rounded up, and at most 292 years.
func (b *tokenBucket) until(tokens int64) time.Duration {
	if tokens <= b.tokens {
		return 0
	}
	hi, lo := bits.Mul64(uint64(tokens-b.tokens), uint64(b.per))
	lo, borrow := bits.Sub64(lo, uint64(b.part), 0)
	hi -= borrow
	if hi >= uint64(b.amount) {
		return math.MaxInt64
	}
	wait, rest := bits.Div64(hi, lo, uint64(b.amount))
	if rest > 0 {
		wait++
	}
	return time.Duration(min(wait, math.MaxInt64))
}

func (b *tokenBucket) String() string {
	return fmt.Sprintf("token bucket: %d tokens per %s, at most %d at once", b.amount, b.per, b.burst)
}

// slidingWindow keeps a log of what arrived: at no time have more than amount tokens arrived within the last per.
type slidingWindow struct {
	amount int64
	per    time.Duration

	log []arrival // of the last per, oldest first
	sum int64
}

type arrival struct {
	at     time.Duration
	tokens int64
}

func newSlidingWindow(amount int64, per time.Duration) *slidingWindow {
	return &slidingWindow{amount: amount, per: per}
}

func (w *slidingWindow) most() int64 { return w.amount }

func (w *slidingWindow) take(now time.Duration, tokens int64) (bool, time.Duration) {
	gone := 0
	for gone < len(w.log) && w.log[gone].at <= now-w.per {
		w.sum -= w.log[gone].tokens
		gone++
	}
	w.log = w.log[gone:]
	if w.sum+tokens <= w.amount {
		w.log = append(w.log, arrival{now, tokens})
		w.sum += tokens
		return true, 0
	}
	left := w.sum
	for _, a := range w.log {
		if left -= a.tokens; left+tokens <= w.amount {
			return false, a.at + w.per - now
		}
	}
	return false, w.per // never, in fact: it is more than amount
}

func (w *slidingWindow) String() string {
	return fmt.Sprintf("sliding window: %d tokens in any %s", w.amount, w.per)
}
