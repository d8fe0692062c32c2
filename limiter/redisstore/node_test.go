package redisstore

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestDownAndUp takes Redis away in several ways. Once that is noticed, asks fail at once, and when it is back they are
// answered again soon.
func TestDownAndUp(t *testing.T) {
	for name, away := range map[string]struct {
		leave, back func(*redistest.Server)
		noticed     time.Duration
	}{
		"stopped": {(*redistest.Server).Pause, (*redistest.Server).Resume, 500 * time.Millisecond},
		"killed": {(*redistest.Server).Kill, func(s *redistest.Server) {
			s.Run()
			s.Restrict() // it does not remember its users
		}, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--appendonly", "yes")
			s := open(t, server, Options{})
			c := limiter.New(s)
			put(t, c, "p", roomy)
			askFor(t, c, "p", 20*time.Millisecond)
			away.leave(server)
			askFor(t, c, "p", away.noticed)
			// For longer than it takes go-redis to give up dialling, if it is let.
			refused := askFor(t, c, "p", 5*time.Second)
			if n := failures(refused); n != len(refused) {
				t.Errorf("%d of %d answered", len(refused)-n, len(refused))
			}
			if m := median(refused); m > 20*time.Millisecond {
				t.Errorf("refused after %v", m)
			}
			began := time.Now()
			_, err := c.Policy(t.Context(), "p")
			if took := time.Since(began); !errors.Is(err, limiter.ErrStoreUnavailable) || took > 20*time.Millisecond {
				t.Errorf("a read: %v after %v", err, took)
			}
			if s.Nodes()[0].Up {
				t.Error("taken to be up")
			}
			away.back(server)
			took := back(t, c, "p")
			if took > 2*time.Second {
				t.Errorf("back after %v", took)
			}
			t.Logf("refused in %v, back after %v", median(refused), took)
		})
	}
}

// TestPromotion kills the primary, and has a sentinel promote the replica, while permits are asked for.
func TestPromotion(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := connect(t, redisclient.Config{Mode: redisclient.Sentinel, URL: sentinel.URL()}, Options{})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	askFor(t, c, "p", 50*time.Millisecond)
	sentinel.Servers[0].Kill()
	asks := make(chan []asked)
	go func() { asks <- askFor(t, c, "p", 400*time.Millisecond) }()
	sentinel.AwaitPromotion(1)
	took := back(t, c, "p")
	if took > 2*time.Second {
		t.Errorf("back after %v", took)
	}
	meanwhile := <-asks
	if m := median(meanwhile); m > 20*time.Millisecond {
		t.Errorf("refused after %v", m)
	}
	if addr := s.Nodes()[0].Addr; addr != "sentinel:"+redistest.PrimaryName {
		t.Errorf("asks went to %s", addr)
	}
	t.Logf("refused in %v, back %v after the promotion", median(meanwhile), took)
}

// TestWaitingAsksFailWhenRedisFalls: what has queued up when Redis is found to be down is not made to wait for it.
func TestWaitingAsksFailWhenRedisFalls(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server, Options{Timeout: time.Hour})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0"}); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	defer server.Resume() // for the connections, which have as long as the asks
	const asks = lanes + 5
	answers := make(chan error, asks)
	found, _ := s.queues.Load("p")
	q := found.(*queue)
	for n := range asks { // the first of each lane's own, the others wait
		go func() {
			_, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0"})
			answers <- err
		}()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			q.mu.Lock()
			begun := lanes - len(q.idle) + len(q.waiting)
			q.mu.Unlock()
			if begun > n {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d asks of %d", begun, n+1)
			}
		}
	}
	for range maxFailures {
		_, _ = s.nodes.only.try(t.Context(), q.key, func() (any, error) { return nil, io.EOF })
	}
	for range asks - lanes {
		if err := <-answers; !errors.Is(err, limiter.ErrStoreUnavailable) {
			t.Errorf("%v", err)
		}
	}
	server.Resume()
	for range lanes { // these were on their way
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
