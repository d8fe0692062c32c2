package throttle

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

var _ api.Throttle = (*Throttle)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(afterTests{m}) }

// afterTests stops the Redis that tests shared.
type afterTests struct{ *testing.M }

func (m afterTests) Run() int {
	defer redistest.Stop()
	return m.M.Run()
}

// open is a throttle with a clock of its own in memory, in microseconds.
func open(t *testing.T, clock *atomic.Int64, memory *limiter.Memory, o Options) *Throttle {
	t.Helper()
	own := memstore.New(memstore.Options{Memory: memory, Clock: func() limiter.Instant { return limiter.Instant(clock.Load()) }})
	throttle, err := New(t.Context(), own, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := throttle.Close(); err != nil {
			t.Error(err)
		}
	})
	return throttle
}

func TestAlone(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Now().UnixMicro())
	throttle := open(t, &clock, nil, Options{})
	check := func(after time.Duration, client string, want time.Duration) {
		t.Helper()
		clock.Add(after.Microseconds())
		if got := throttle.Failed(t.Context(), client); got != want {
			t.Errorf("wait %v, want %v", got, want)
		}
	}
	for range burst {
		check(0, "203.0.113.7", 0)
	}
	check(0, "203.0.113.7", 6*time.Second)
	check(2*time.Second, "203.0.113.7", 4*time.Second)
	check(0, "203.0.113.8", 0)
	check(0, "2001:db8:1:2::/64", 0)
	check(4*time.Second, "203.0.113.7", 0)
	check(0, "203.0.113.7", 6*time.Second)
	check(time.Minute, "203.0.113.7", 0)
}

// TestClientsThatGoAwayAreCounted: closing the connection early gains nothing.
func TestClientsThatGoAwayAreCounted(t *testing.T) {
	var clock atomic.Int64
	throttle := open(t, &clock, nil, Options{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range burst {
		throttle.Failed(gone, "203.0.113.7")
	}
	if throttle.Failed(gone, "203.0.113.7") == 0 {
		t.Error("not counted")
	}
}

// TestMemoryIsBounded: without room to count in, clients that are not counted wait. Room comes with time.
func TestMemoryIsBounded(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Now().UnixMicro())
	memory := limiter.NewMemory(32 << 10)
	throttle := open(t, &clock, memory, Options{})
	refused := 0
	for i := range 200 {
		if throttle.Failed(t.Context(), "client-"+strconv.Itoa(i)) == oneMore {
			refused++
		}
	}
	if refused < 50 || refused > 150 || memory.Used() > memory.Most() {
		t.Errorf("%d clients refused of 200, %d bytes of %d used", refused, memory.Used(), memory.Most())
	}
	if throttle.Failed(t.Context(), "client-0") != 0 {
		t.Error("one that is counted is refused")
	}
	clock.Add(time.Hour.Microseconds())
	if wait := throttle.Failed(t.Context(), "client-new"); wait != 0 {
		t.Errorf("after an hour: wait %v", wait)
	}
}

// eventually polls until what is true.
func eventually(t *testing.T, what func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !what() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("did not happen in time")
		}
	}
}

// countsAlong reports whether b knows what a counted, of a client that neither has seen before. On a machine that is slow
// at the moment it may not.
func countsAlong(t *testing.T, a, b *Throttle) bool {
	client := rand.Text()
	for range burst {
		a.Failed(t.Context(), client)
	}
	wait := b.Failed(t.Context(), client)
	if wait > oneMore {
		t.Errorf("wait %v", wait)
	}
	return wait > 0 && b.Failed(t.Context(), rand.Text()) == 0
}

func TestInstancesCountTogether(t *testing.T) {
	var clock atomic.Int64
	server, prefix := redistest.Start(t), "test-"+rand.Text()
	o := Options{Redis: redisclient.Config{URL: server.URL()}, RedisPrefix: prefix}
	a, b := open(t, &clock, nil, o), open(t, &clock, nil, o)
	other := open(t, &clock, nil, Options{Redis: redisclient.Config{URL: server.URL()}, RedisPrefix: prefix + "-other"})
	eventually(t, func() bool { return countsAlong(t, a, b) })
	if countsAlong(t, a, other) {
		t.Error("throttles with different prefixes count together")
	}
	c := server.Client()
	defer c.Close()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatal(len(keys), err)
	}
	for _, k := range keys {
		if !strings.HasPrefix(k, prefix+":rate:login:") && !strings.HasPrefix(k, prefix+"-other:rate:login:") {
			t.Errorf("key %s", k)
		}
		if ttl := c.TTL(t.Context(), k).Val(); ttl == -1 || ttl > time.Minute {
			t.Errorf("%s lives for %v", k, ttl)
		}
	}
}

// log is a buffer that is written to and read at once.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// TestRedisAway: a Redis that hangs, or is gone, delays no answer; each instance goes on counting; and all count together
// again when it is back.
func TestRedisAway(t *testing.T) {
	for name, away := range map[string]struct{ leave, back func(*redistest.Server) }{
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"gone":   {(*redistest.Server).Kill, (*redistest.Server).Run},
	} {
		t.Run(name, func(t *testing.T) {
			var clock atomic.Int64
			server, told := redistest.Start(t), &log{}
			o := Options{Redis: redisclient.Config{URL: server.URL()}, Logger: slog.New(slog.NewTextHandler(told, nil))}
			a, b := open(t, &clock, nil, o), open(t, &clock, nil, o)
			eventually(t, func() bool { return countsAlong(t, a, b) })

			away.leave(server)
			client := rand.Text()
			for i := range burst + 1 {
				began := time.Now()
				wait := a.Failed(t.Context(), client)
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v", took)
				}
				if (wait > 0) != (i == burst) {
					t.Errorf("failure %d: wait %v", i, wait)
				}
			}
			eventually(t, func() bool { return told.count("does not count failed logins") > 0 })
			away.back(server)
			eventually(t, func() bool { return countsAlong(t, a, b) })
			if told.count("counts failed logins again") == 0 {
				t.Error("its return is not logged")
			}
		})
	}
}

// TestInCluster: instances count together in a cluster too, by a user who may do no more than docs/redis.md says.
func TestInCluster(t *testing.T) {
	var clock atomic.Int64
	cluster := redistest.StartCluster(t, false)
	user := ""
	for _, s := range cluster.Nodes {
		user = s.Restrict()
	}
	o := Options{Redis: redisclient.Config{Mode: redisclient.Cluster, URL: strings.Replace(cluster.URL(), "//", "//"+user+"@", 1)}}
	a, b := open(t, &clock, nil, o), open(t, &clock, nil, o)
	for range 5 { // whichever nodes the clients' counters are on
		eventually(t, func() bool { return countsAlong(t, a, b) })
	}
}

func TestManyAtOnce(t *testing.T) {
	var clock atomic.Int64
	throttle := open(t, &clock, nil, Options{Redis: redisclient.Config{URL: redistest.Shared(t).URL()}, RedisPrefix: "test-" + rand.Text()})
	var wg sync.WaitGroup
	var passed atomic.Int64
	for range 64 {
		wg.Go(func() {
			for range 5 {
				if throttle.Failed(t.Context(), "203.0.113.7") == 0 {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != burst {
		t.Errorf("%d passed, want %d", passed.Load(), burst)
	}
}

func TestBadURL(t *testing.T) {
	if _, err := New(t.Context(), memstore.New(memstore.Options{}), Options{Redis: redisclient.Config{URL: "http://x"}}); err == nil {
		t.Error("accepted")
	}
}
