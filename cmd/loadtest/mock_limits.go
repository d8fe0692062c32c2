package main

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// The kinds of mock provider.
const (
	mockBucket = "bucket"
	mockWindow = "window"
)

// mockLimits are the limits of a mock provider: so many tokens per per for the whole platform, and for each account.
type mockLimits struct {
	kind    string // mockBucket or mockWindow
	amount  int64
	burst   int64 // that a bucket holds; amount for a window
	per     time.Duration
	account int64 // amount of each account; 0: accounts have no limit
}

func (l mockLimits) platform() providerLimit {
	if l.kind == mockWindow {
		return newSlidingWindow(l.amount, l.per)
	}
	return newTokenBucket(l.amount, l.per, l.burst)
}

// ofAccount is the limit of one account. Its burst is to the platform's as its amount.
func (l mockLimits) ofAccount() providerLimit {
	l.burst, l.amount = scaled(l.burst, l.account, l.amount), l.account
	return l.platform()
}

// most is the most tokens that one call may ever have.
func (l mockLimits) most() int64 {
	if l.account > 0 {
		return min(l.platform().most(), l.ofAccount().most())
	}
	return l.platform().most()
}

func (l mockLimits) String() string {
	text := fmt.Sprint(l.platform())
	if l.account > 0 {
		text += fmt.Sprintf("; for each account %d, at most %d at once", l.account, l.ofAccount().most())
	}
	return text
}

// scaled is the part of a burst that goes with the part of an amount, at least 1.
func scaled(burst, part, amount int64) int64 {
	return max(1, int64(float64(burst)/float64(amount)*float64(part)))
}

// providerLimit is how a mock provider counts. Times are those of one clock that never steps back, and no call has more
// tokens than most.
type providerLimit interface {
	// wait is after how long tokens that arrive at now would fit if nothing else came; 0 when they fit.
	wait(now time.Duration, tokens int64) time.Duration
	// charge counts tokens that arrive at now and fit.
	charge(now time.Duration, tokens int64)
	// room is how many tokens fit at now, and after how long as many do as ever can.
	room(now time.Duration) (tokens int64, reset time.Duration)
	// most is the most tokens that ever fit.
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

func (b *tokenBucket) wait(now time.Duration, tokens int64) time.Duration {
	b.fill(now)
	return b.until(tokens)
}

func (b *tokenBucket) charge(now time.Duration, tokens int64) {
	b.fill(now)
	b.tokens -= tokens
}

func (b *tokenBucket) room(now time.Duration) (int64, time.Duration) {
	b.fill(now)
	return b.tokens, b.until(b.burst)
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

func (w *slidingWindow) wait(now time.Duration, tokens int64) time.Duration {
	w.forget(now)
	for i, left := 0, w.sum; left+tokens > w.amount && i < len(w.log); i++ {
		if left -= w.log[i].tokens; left+tokens <= w.amount {
			return w.log[i].at + w.per - now
		}
	}
	return 0
}

func (w *slidingWindow) charge(now time.Duration, tokens int64) {
	w.log = append(w.log, arrival{now, tokens})
	w.sum += tokens
}

func (w *slidingWindow) room(now time.Duration) (int64, time.Duration) {
	w.forget(now)
	if len(w.log) == 0 {
		return w.amount, 0
	}
	return w.amount - w.sum, w.log[len(w.log)-1].at + w.per - now
}

// forget drops what is no longer of the last per.
func (w *slidingWindow) forget(now time.Duration) {
	gone := 0
	for gone < len(w.log) && w.log[gone].at <= now-w.per {
		w.sum -= w.log[gone].tokens
		gone++
	}
	w.log = w.log[gone:]
}

func (w *slidingWindow) String() string {
	return fmt.Sprintf("sliding window: %d tokens in any %s", w.amount, w.per)
}
