package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
	"github.com/permitd/permitd/limiter/storetest"
)

// patience is the timeout where a test is not about timeouts: the machine may be slow.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	logging.Disable() // go-redis' own
	redistest.Trust()
	code := m.Run()
	redistest.Stop()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// open is a store under a prefix of its own, whose user may do no more than docs/redis.md says.
func open(t testing.TB, server *redistest.Server, o Options) *Store {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = "permitd:" + rand.Text()
	}
	s, err := Connect(redisclient.Config{URL: server.UserURL()}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// openVirtual is a store whose scripts take the time from a key.
func openVirtual(t testing.TB) (limiter.Store, func(limiter.Instant)) {
	s, set := openSettable(t)
	return s, set
}

func openSettable(t testing.TB) (*Store, func(limiter.Instant)) {
	t.Helper()
	prefix, admin := "permitd:"+rand.Text(), redistest.Shared(t).Client()
	t.Cleanup(func() { admin.Close() })
	s := open(t, redistest.Shared(t), Options{Prefix: prefix, Timeout: patience, noDenials: true, clock: fmt.Sprintf(`
local now, shortest = tonumber(redis.call('GET', '%s:clock')), 600000
`, prefix)})
	return s, func(now limiter.Instant) {
		if err := admin.Set(context.Background(), prefix+":clock", int64(now), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open:        func(t testing.TB) limiter.Store { return open(t, redistest.Shared(t), Options{Timeout: patience}) },
		OpenVirtual: openVirtual,
	})
}

// put stores a policy of the provider.
func put(t testing.TB, c *limiter.Coordinator, provider, doc string) {
	t.Helper()
	p, err := limiter.ParsePolicy([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutPolicy(context.Background(), provider, p, limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
}
