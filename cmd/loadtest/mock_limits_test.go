package main

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// take charges a limit with tokens, or says after how long they fit.
func take(l providerLimit, now time.Duration, tokens int64) (bool, time.Duration) {
	wait := l.wait(now, tokens)
	if wait == 0 {
		l.charge(now, tokens)
	}
	return wait == 0, wait
}

// arrivals are random calls of a provider, in the order of time.
func arrivals(t *rapid.T, per time.Duration, most int64) []arrival {
	list := make([]arrival, rapid.IntRange(1, 60).Draw(t, "calls"))
	var now time.Duration
	for i := range list {
		now += time.Duration(rapid.Int64Range(0, int64(per)/4+1).Draw(t, "gap"))
		list[i] = arrival{now, rapid.Int64Range(0, most).Draw(t, "tokens")}
	}
	return list
}

// TestTokenBucketIsExact compares with fractions of any size: level = min(burst, level + elapsed·amount/per).
func TestTokenBucketIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(1, 1e12).Draw(t, "amount")
		per := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "per"))
		burst := rapid.Int64Range(1, 1e12).Draw(t, "burst")
		b := newTokenBucket(amount, per, burst)
		level, last := new(big.Rat).SetInt64(burst), time.Duration(0)
		at := func(now time.Duration) *big.Rat {
			gain := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(int64(now-last)), big.NewInt(amount)), big.NewInt(int64(per)))
			if gain.Add(gain, level); gain.Cmp(new(big.Rat).SetInt64(burst)) > 0 {
				gain.SetInt64(burst)
			}
			return gain
		}
		for _, a := range arrivals(t, per, burst) {
			cost := new(big.Rat).SetInt64(a.tokens)
			level, last = at(a.at), a.at
			want := cost.Cmp(level) <= 0
			got, wait := take(b, a.at, a.tokens)
			if got != want {
				t.Fatalf("at %s %d tokens are %v, with %s there", a.at, a.tokens, got, level)
			}
			if want {
				level = new(big.Rat).Sub(level, cost)
			} else if wait == math.MaxInt64 {
				continue // 292 years or more
			} else if wait <= 0 || cost.Cmp(at(a.at+wait)) > 0 || cost.Cmp(at(a.at+wait-1)) <= 0 {
				t.Fatalf("at %s %d tokens have to wait for %s, with %s there", a.at, a.tokens, wait, level)
			}
		}
	})
}

// TestSlidingWindowIsExact compares with summing up all that ever arrived.
func TestSlidingWindowIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(1, 1000).Draw(t, "amount")
		per := time.Duration(rapid.Int64Range(1, 1000).Draw(t, "per"))
		w := newSlidingWindow(amount, per)
		var all []arrival
		sum := func(now time.Duration) (n int64) {
			for _, a := range all {
				if a.at > now-per {
					n += a.tokens
				}
			}
			return n
		}
		for _, a := range arrivals(t, per, amount) {
			want := sum(a.at)+a.tokens <= amount
			got, wait := take(w, a.at, a.tokens)
			if got != want {
				t.Fatalf("at %s %d tokens are %v, with %d in the window", a.at, a.tokens, got, sum(a.at))
			}
			if want {
				all = append(all, a)
			} else if wait <= 0 || sum(a.at+wait)+a.tokens > amount || sum(a.at+wait-1)+a.tokens <= amount {
				t.Fatalf("at %s %d tokens have to wait for %s", a.at, a.tokens, wait)
			}
		}
	})
}

func TestSlidingWindowAtTheBoundary(t *testing.T) {
	w := newSlidingWindow(10, time.Second)
	for _, step := range []struct {
		at     time.Duration
		tokens int64
		ok     bool
		wait   time.Duration
	}{
		{0, 6, true, 0},
		{500 * time.Millisecond, 4, true, 0},
		{500 * time.Millisecond, 1, false, 500 * time.Millisecond},
		{600 * time.Millisecond, 7, false, 900 * time.Millisecond}, // both have to go
		{time.Second - 1, 6, false, 1},
		{time.Second, 6, true, 0}, // what came exactly one per ago is out
		{time.Second, 0, true, 0},
	} {
		if ok, wait := take(w, step.at, step.tokens); ok != step.ok || wait != step.wait {
			t.Errorf("at %s %d tokens: %v, wait %s", step.at, step.tokens, ok, wait)
		}
	}
}

// TestRoom sees that what is said to fit does, and no more, and that all is free when it is said to be.
func TestRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(1, 1e6).Draw(t, "amount")
		per := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "per"))
		for _, l := range []providerLimit{newSlidingWindow(amount, per), newTokenBucket(amount, per, rapid.Int64Range(1, 1e6).Draw(t, "burst"))} {
			var now time.Duration
			for _, a := range arrivals(t, per, l.most()) {
				now = a.at
				take(l, now, a.tokens)
				left, _ := l.room(now)
				if l.wait(now, left) != 0 || left < l.most() && l.wait(now, left+1) == 0 {
					t.Fatalf("%s: %d fit is not so at %s", l, left, now)
				}
			}
			_, reset := l.room(now)
			if reset > 0 {
				if left, more := l.room(now + reset - 1); left == l.most() && more == 0 {
					t.Fatalf("%s: all is free before %s", l, reset)
				}
			}
			if left, more := l.room(now + reset); left != l.most() || more != 0 {
				t.Fatalf("%s: after %s there are %d, and %s to wait", l, reset, left, more)
			}
		}
	})
}

func TestAccountsOfAMock(t *testing.T) {
	for _, tt := range []struct {
		limits mockLimits
		most   int64
		says   string
	}{
		{mockLimits{mockBucket, 1000, 600, time.Second, 0}, 600, "token bucket: 1000 tokens per 1s, at most 600 at once"},
		{mockLimits{mockBucket, 1000, 600, time.Second, 500}, 300, "token bucket: 1000 tokens per 1s, at most 600 at once; for each account 500, at most 300 at once"},
		{mockLimits{mockWindow, 1000, 1000, time.Second, 500}, 500, "sliding window: 1000 tokens in any 1s; for each account 500, at most 500 at once"},
		{mockLimits{mockBucket, 1000, 1, time.Second, 500}, 1, "token bucket: 1000 tokens per 1s, at most 1 at once; for each account 500, at most 1 at once"},
	} {
		if tt.limits.most() != tt.most || tt.limits.String() != tt.says {
			t.Errorf("at most %d, want %d\n%s\n%s", tt.limits.most(), tt.most, tt.limits, tt.says)
		}
	}
}
