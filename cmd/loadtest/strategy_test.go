package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

func tokensCost(t *testing.T) costRule { return mustCost(t, "tokens=context+generated") }

func TestSplitDividesWithoutLoss(t *testing.T) {
	l := rateLimit{providerLimitName, 1000, time.Second, 103}
	var bursts []int64
	var burst int64
	var rate float64
	for i := range 4 {
		bursts = append(bursts, l.burstOf(i, 4))
		burst += l.burstOf(i, 4)
		rate += float64(l.part(i, 4).Limit())
	}
	if fmt.Sprint(bursts) != "[26 26 26 25]" || burst != 103 || rate != 1000 {
		t.Errorf("bursts %v, in all %d, rate %g", bursts, burst, rate)
	}
}

// Clients of all replicas always have more to do than the limit lets through; at each moment all of them together have had at
// most burst + rate·t, and at the end as much, less what is too little for one more call of each replica.
func TestSplitKeepsTheLimitAndUsesItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, calls, tokens = 4, 400, 7
		l := rateLimit{providerLimitName, 1000, time.Second, 103}
		s := newSplit(n, ownLimits{provider: l}, tokensCost(t))
		start := time.Now()
		var mu sync.Mutex
		var running sync.WaitGroup
		var sum int64
		for i := range calls {
			running.Go(func() {
				v, err := s.asker(i%n, &row{Context: tokens}).ask(t.Context())
				if err != nil || !v.granted {
					t.Errorf("%+v, %v", v, err)
				}
				time.Sleep(v.wait)
				mu.Lock()
				defer mu.Unlock()
				sum += tokens
				// A token of slack: rate.Limiter rounds waits down to nanoseconds.
				if bound := 103 + 1000*time.Since(start).Seconds() + 1; float64(sum) > bound {
					t.Errorf("%d tokens after %s, more than %g", sum, time.Since(start), bound)
				}
			})
		}
		running.Wait()
		if most := 103 + 1000*time.Since(start).Seconds(); float64(sum) < most-n*tokens {
			t.Errorf("%d tokens in %s, of %g", sum, time.Since(start), most)
		}
	})
}

func TestSplitLimitsAccountsAndLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := rateLimit{accountLimitName, 10, time.Second, 20}
		s := newSplit(2, ownLimits{rateLimit{providerLimitName, 1000, time.Second, 2000}, &account, accountByLetter}, tokensCost(t))
		ask := func(replica int, key string) verdict {
			v, err := s.asker(replica, &row{Context: 10, Key: key}).ask(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if v := ask(0, "a"); v.wait != 0 {
			t.Errorf("the first of an account waits: %+v", v)
		}
		v := ask(0, "a2") // half of the account's rate is this replica's
		if v.wait != 2*time.Second || !v.ofAccount || fmt.Sprint(v.by) != "[account-tokens]" {
			t.Errorf("the second of an account: %+v", v)
		}
		v.leave()
		if v := ask(0, "a3"); v.wait != 2*time.Second {
			t.Errorf("after one left the line: %+v", v)
		}
		if a, b := ask(1, "a"), ask(0, "b"); a.wait != 0 || b.wait != 0 {
			t.Errorf("another replica %+v, another account %+v", a, b)
		}
	})
}

// accountByLetter has one account for all keys of a letter.
func accountByLetter(key string) string { return key[:1] }

func TestClientWaitsInLine(t *testing.T) {
	for _, tt := range []struct {
		patience time.Duration
		want     counts
		took     time.Duration
	}{
		{time.Minute, counts{Served: 1, Asked: 1, Allowed: 1}, 5 * time.Second},
		{time.Second, counts{GaveUp: 1, Asked: 1, Allowed: 1}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSplit(1, ownLimits{provider: rateLimit{providerLimitName, 1, time.Second, 5}}, tokensCost(t))
			if _, err := s.asker(0, &row{Context: 5}).ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			m := &meter{now: func() time.Duration { return time.Since(start) }}
			c := &clients{upstream: &http.Client{Transport: &answers{nil, []string{answered}}}, local: s, replicas: 1, providers: one(m),
				patience: tt.patience, tally: newTally(func() {})}
			c.serve(t.Context(), 0, &row{Context: 5}, start)
			if o, took := c.tally.read(), time.Since(start); o.counts != tt.want || took != tt.took || o.Kept["tokens"] != 1 || m.read().Waiting != 0 {
				t.Errorf("%+v after %s", o, took)
			}
		})
	}
}

// The limits drain next to nothing, so that what is asked is exact whatever time passes.
func TestRedisRateAsksForEachLimit(t *testing.T) {
	server := redistest.Start(t)
	provider := rateLimit{providerLimitName, 1, time.Hour, 100}
	account := rateLimit{accountLimitName, 1, time.Hour, 50}
	s, stop, err := newRedisRate(t.Context(), server.URL(), 2, ownLimits{provider, &account, accountByLetter}, tokensCost(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ask := func(a asker) string {
		v, err := a.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !v.granted && v.wait <= 0 {
			t.Errorf("denied without a wait: %+v", v)
		}
		return fmt.Sprintf("%t %v %t", v.granted, v.by, v.ofAccount)
	}
	const yes, ofAccount, ofProvider = "true [] false", "false [account-tokens] true", "false [tokens] false"
	for i, step := range []struct {
		replica int
		key     string
		want    string
	}{
		{0, "a", yes}, {1, "a2", ofAccount}, // of 50; replicas count together
		{1, "b", yes}, {0, "c", ofProvider}, // 80 of 100
		{0, "c2", ofAccount}, // what it was charged stays
	} {
		if got := ask(s.asker(step.replica, &row{Context: 40, Key: step.key})); got != step.want {
			t.Errorf("ask %d: %s, want %s", i, got, step.want)
		}
	}
	// A client that the provider's limit denied does not charge its account again.
	again := s.asker(0, &row{Context: 40, Key: "d"})
	for range 3 {
		if got := ask(again); got != ofProvider {
			t.Errorf("asked again: %s", got)
		}
	}
}

func TestRedisRateWithoutRedis(t *testing.T) {
	if _, _, err := newRedisRate(t.Context(), "redis://127.0.0.1:1", 1, ownLimits{}, costRule{}, ""); err == nil || !strings.Contains(err.Error(), "start one") {
		t.Errorf("%v", err)
	}
	server := redistest.Start(t)
	s, stop, err := newRedisRate(t.Context(), server.URL(), 1, ownLimits{provider: rateLimit{providerLimitName, 1, time.Hour, 9}}, tokensCost(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := s.asker(0, &row{Context: 1}).ask(context.Background()); !noDecision(err) || errors.Is(err, errNonsense) {
		t.Errorf("a Redis that does not answer: %v", err)
	}
}

func TestDenialTellsWhoseLimit(t *testing.T) {
	for body, want := range map[string]bool{
		`{"violated-policies":["k"],"limits":[{"name":"k","scope":"key"},{"name":"p","scope":"provider"}]}`:     true,
		`{"violated-policies":["a","k"],"limits":[{"name":"k","scope":"key"},{"name":"a","scope":"pool"}]}`:     true,
		`{"violated-policies":["k","p"],"limits":[{"name":"k","scope":"key"},{"name":"p","scope":"provider"}]}`: false,
		`{}`: false,
	} {
		c := &clients{http: &http.Client{Transport: &answers{permitd: []string{"429 " + body}}}, permitd: []string{"http://permitd"}, tally: newTally(func() {})}
		v, err := c.asker(0, &row{}, nil).ask(t.Context())
		if err != nil || v.granted || v.ofAccount != want {
			t.Errorf("%s: %+v, %v", body, v, err)
		}
	}
}

func TestReplicasShareClients(t *testing.T) {
	var n [4]int
	for i := range 4000 {
		n[replicaOf(i, 1, 4)]++
	}
	for _, clients := range n {
		if clients < 850 || clients > 1150 {
			t.Errorf("clients of replicas: %v", n)
		}
	}
}

// Each strategy on one input; none is turned away, and tells so.
func TestStrategiesAreCompared(t *testing.T) {
	server := redistest.Start(t)
	path := writeTrace(t, 300, 60*time.Second)
	code, stdout, stderr := loadtest(t, "replay", "--trace", path, "--duration=500ms", "--strategy=none,split,permitd,redis_rate", "--redis-url", server.URL(),
		"--capacity=0.5x", "--per=30s", "--burst=0.4x", "--mock-burst=0.5x", "--accounts=10", "--account-capacity=0.9x",
		"--assert=served=300", "--assert=none:upstream_429>0", "--assert=none:asked=0", "--assert=split:asked>=300", "--assert=split:denied=0",
		"--assert=split:served=300", "--assert=redis_rate:served=300", "--assert=redis_rate:allowed>=300")
	if code != exitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	for _, want := range []string{"== none", "== split", "== permitd", "== redis_rate", "== compared", "holds: none:upstream_429>0"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

func TestSyntheticTrace(t *testing.T) {
	a, b := syntheticTrace(1), syntheticTrace(1)
	if len(a.rows) != len(b.rows) || a.rows[100] != b.rows[100] || len(a.rows) == len(syntheticTrace(2).rows) {
		t.Error("the same seed draws the same trace, and another another")
	}
	if a.rows[0].At != 0 || a.span() > syntheticSpan || len(a.rows) < 5000 {
		t.Errorf("%d requests in %s", len(a.rows), a.span())
	}
	for _, r := range a.rows {
		if r.Context < 1 || r.Context > 8000 || r.Generated < 1 || r.Generated > 1000 {
			t.Fatalf("%+v", r)
		}
	}
}

// Without --accounts an account is named by the key's id, so that no key is shown to Redis.
func TestKeysInRedisAreIDs(t *testing.T) {
	server := redistest.Start(t)
	account := rateLimit{accountLimitName, 1, time.Hour, 50}
	s, stop, err := newRedisRate(t.Context(), server.URL(), 1, ownLimits{account, &account, (&providerPlan{}).account}, tokensCost(t), "run")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := s.asker(0, &row{Context: 1, Key: "sk-secret"}).ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, err := s.replicas[0].Keys(t.Context(), "*").Result()
	if all := strings.Join(names, " "); err != nil || strings.Contains(all, "secret") || !strings.Contains(all, limiter.KeyID("sk-secret")) {
		t.Errorf("%s, %v", all, err)
	}
}
