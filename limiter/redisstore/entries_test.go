package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestManyEntries registers keys, PERMITD_ENTRIES of them, and measures what they cost: an instance's memory, the first
// decision for a key that it has not seen, an edit, and a page of the list. What is checked is that an ask for a key, known
// or not, is one script call.
func TestManyEntries(t *testing.T) {
	entries := environment(t, "PERMITD_ENTRIES", 3000)
	server := redistest.Start(t)
	s := open(t, server, Options{Timeout: patience})
	c, ctx := limiter.New(s), context.Background()
	put(t, c, "p", roomy)
	empty := heap()
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := w; i < entries; i += 32 {
				doc := fmt.Sprintf(`{"label":"customer %d","limits":{"key":{"amount":%d}}}`, i, 1+i%100)
				if _, err := c.PutEntry(ctx, registered(i), []byte(doc), limiter.Edit{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d entries written in %v, %d bytes of Redis each", entries, time.Since(begin).Round(time.Millisecond), memoryOf(t, server)/int64(entries))

	asking := limiter.New(s)
	ask := func(key string) time.Duration {
		began := time.Now()
		if d, err := asking.Acquire(ctx, limiter.Ask{Provider: "p", Key: key}); err != nil || !d.Allowed {
			t.Fatal(d, err)
		}
		return time.Since(began)
	}
	ask("warm")
	const n = 500
	for _, some := range []struct {
		what  string
		key   func(i int) string
		calls int // scripts for each
	}{
		{"a registered key, first ask", func(i int) string { return "sk-" + strconv.Itoa(i*(entries/n)) }, 2},
		{"a registered key, again", func(i int) string { return "sk-" + strconv.Itoa(i*(entries/n)) }, 1},
		{"a key without an entry, first ask", func(i int) string { return "other-" + strconv.Itoa(i) }, 1},
	} {
		before, took := scriptsRun(t, server), []time.Duration{}
		for i := range n {
			took = append(took, ask(some.key(i)))
		}
		if calls := scriptsRun(t, server) - before; calls != n*some.calls {
			t.Errorf("%s: %d scripts for %d asks, want %d", some.what, calls, n, n*some.calls)
		}
		t.Logf("%s: p50 %v, p99 %v", some.what, quantile(took, 0.5), quantile(took, 0.99))
	}
	if entries > 100_000 {
		for range 100_000 { // more than an instance keeps
			ask("sk-" + strconv.Itoa(rand.IntN(entries)))
		}
	}
	t.Logf("memory of an instance: %d KiB more than when it was empty", (heap()-empty)/1024)

	var took []time.Duration
	for range n {
		began := time.Now()
		if _, err := c.PatchEntry(ctx, registered(rand.IntN(entries)), []byte(`{"label":"x"}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	t.Logf("an edit: p50 %v, p99 %v", quantile(took, 0.5), quantile(took, 0.99))
	took = took[:0]
	for range 50 {
		began := time.Now()
		page, _, err := c.Entries(ctx, "p", limiter.KeyEntry, registered(rand.IntN(entries)).Name, 1000)
		if err != nil || len(page) == 0 && entries > 100_000 {
			t.Fatal(len(page), err)
		}
		took = append(took, time.Since(began))
	}
	t.Logf("a page of 1000: p50 %v, p99 %v", quantile(took, 0.5), quantile(took, 0.99))
	runtime.KeepAlive(asking)
}

// registered names the entry of the i-th key.
func registered(i int) limiter.DocID {
	return limiter.DocID{Provider: "p", Kind: limiter.KeyEntry, Name: limiter.KeyID("sk-" + strconv.Itoa(i))}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func quantile(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return took[int(q*float64(len(took)-1))].Round(time.Microsecond)
}

// memoryOf is the memory that Redis has in use.
func memoryOf(t *testing.T, server *redistest.Server) int64 {
	return info(t, server, "memory", `used_memory:(\d+)`)
}

// scriptsRun is how many scripts Redis has run.
func scriptsRun(t *testing.T, server *redistest.Server) int {
	return int(info(t, server, "commandstats", `cmdstat_evalsha:calls=(\d+)`))
}

func info(t *testing.T, server *redistest.Server, section, pattern string) int64 {
	t.Helper()
	client := server.Client()
	defer client.Close()
	text, err := client.Info(context.Background(), section).Result()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in %s", pattern, text)
	}
	n, _ := strconv.ParseInt(found[1], 10, 64)
	return n
}
