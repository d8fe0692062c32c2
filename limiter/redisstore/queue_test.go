package redisstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// stopped is a coordinator on a Redis that has stopped answering after it was given a policy.
func stopped(t *testing.T, o Options) (*limiter.Coordinator, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	c := limiter.New(open(t, server, o))
	put(t, c, "p", roomy)
	if d, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0"}); err != nil || !d.Allowed {
		t.Fatal(d, err)
	}
	server.Pause()
	return c, server
}

// used is what the provider's limit holds, once Redis answers.
func used(t *testing.T, c *limiter.Coordinator) int64 {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		u, err := c.Usage(t.Context(), limiter.UsageQuery{Provider: "p"})
		if err == nil {
			return u.Limits[0].Used
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	c, server := stopped(t, Options{Timeout: 300 * time.Millisecond})
	asks := make([]limiter.Ask, maxQueue+100)
	for i := range asks {
		asks[i] = limiter.Ask{Provider: "p", Key: "sk-" + strconv.Itoa(i)}
	}
	overloaded, unavailable := 0, 0
	for _, r := range c.AcquireBatch(t.Context(), asks) {
		switch {
		case errors.Is(r.Err, limiter.ErrOverloaded):
			overloaded++
		case errors.Is(r.Err, limiter.ErrStoreUnavailable):
			unavailable++
		default:
			t.Fatalf("%+v", r)
		}
	}
	if overloaded != 100 || unavailable != maxQueue {
		t.Errorf("%d overloaded, %d unavailable", overloaded, unavailable)
	}
	server.Resume()
	for deadline := time.Now().Add(10 * time.Second); used(t, c) != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d used, want the 1 that was granted", used(t, c))
		}
	}
}

func TestCallerIsReleasedWhenItsContextEnds(t *testing.T) {
	c, server := stopped(t, Options{Timeout: time.Hour})
	defer server.Resume() // for the connection, whose timeout is as long
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error)
	go func() {
		_, err := c.Acquire(ctx, limiter.Ask{Provider: "p", Key: "sk-0"})
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("answered: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	cancel()
	select {
	case err := <-answered:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("not released")
	}
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	s := open(t, redistest.Shared(t), Options{})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0"}); !errors.Is(err, limiter.ErrStoreUnavailable) {
		t.Errorf("%v", err)
	}
}

// TestScriptsThatRedisForgotAreSentAgain flushes the scripts between two asks of which each is charged once.
func TestScriptsThatRedisForgotAreSentAgain(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server, Options{Timeout: patience})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	for i := range int64(3) {
		server.Do("script", "flush")
		if d, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0"}); err != nil || !d.Allowed {
			t.Fatal(d, err)
		}
		if got := used(t, c); got != i+1 {
			t.Errorf("%d used after %d grants", got, i+1)
		}
	}
}

// TestFullRedisChargesNothing takes all memory from Redis for a while. Holds can be closed and extended meanwhile.
func TestFullRedisChargesNothing(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server, Options{Timeout: patience})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	ask := limiter.Ask{Provider: "p", Key: "sk-0"}
	if d, err := c.Acquire(t.Context(), ask); err != nil || !d.Allowed {
		t.Fatal(d, err)
	}
	var permits []string
	for range 3 {
		d, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0", Hold: true, Cost: limiter.Costs{{Unit: "requests", Amount: 10}, {Unit: "held", Amount: 1}}})
		if err != nil || !d.Allowed {
			t.Fatal(d, err)
		}
		permits = append(permits, d.PermitID)
	}
	server.Do("config", "set", "maxmemory", "1")
	if _, err := c.Settle(t.Context(), permits[0], limiter.Costs{{Unit: "requests", Amount: 3}}); err != nil {
		t.Error(err)
	}
	if _, err := c.Cancel(t.Context(), permits[1]); err != nil {
		t.Error(err)
	}
	if _, err := c.ExtendHold(t.Context(), permits[2], time.Hour); err != nil {
		t.Error(err)
	}
	for range 2 * maxFailures { // it is full, not down
		if _, err := c.Acquire(t.Context(), ask); !errors.Is(err, limiter.ErrStoreUnavailable) {
			t.Errorf("%v", err)
		}
	}
	if !s.Nodes()[0].Up {
		t.Error("taken to be down")
	}
	server.Do("config", "set", "maxmemory", "0")
	if d, err := c.Acquire(t.Context(), ask); err != nil || !d.Allowed {
		t.Error(d, err)
	}
	if got := used(t, c); got != 1+3+10+1 {
		t.Errorf("%d used, want 15", got)
	}
}

// TestCallsAboutHoldsAreBounded settles while as many calls as may wait are on their way. Another provider's holds, and
// documents, are none of their business.
func TestCallsAboutHoldsAreBounded(t *testing.T) {
	s := open(t, redistest.Start(t), Options{Timeout: patience})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	answered := make(chan struct{})
	var calls sync.WaitGroup
	for range maxAside {
		begun := make(chan struct{})
		calls.Go(func() {
			_, err := s.side.aside(t.Context(), "p", func(context.Context) (any, error) {
				close(begun)
				<-answered
				return nil, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-begun
	}
	settle := func() error {
		_, err := c.Settle(t.Context(), "p_p_0123456789abcdefghijkl", nil)
		return err
	}
	if err := settle(); !errors.Is(err, limiter.ErrOverloaded) {
		t.Errorf("%v, want that too many wait", err)
	}
	if _, err := c.Settle(t.Context(), "p_q_0123456789abcdefghijkl", nil); !errors.Is(err, limiter.ErrUnknownPermit) {
		t.Errorf("another provider's: %v", err)
	}
	if _, err := c.Policy(t.Context(), "p"); err != nil {
		t.Errorf("a document: %v", err)
	}
	close(answered)
	calls.Wait()
	if len(s.side.taken) != 0 || s.side.calls != 0 {
		t.Errorf("%d places of %v are not given back", s.side.calls, s.side.taken)
	}
	if err := settle(); !errors.Is(err, limiter.ErrUnknownPermit) {
		t.Errorf("%v, want that it asked Redis", err)
	}
}

// TestOrderlyEndTakesBack closes a store that has a call on its way to a Redis that is slow for a moment.
func TestOrderlyEndTakesBack(t *testing.T) {
	server := redistest.Start(t)
	s, other := open(t, server, Options{Prefix: "permitd", Timeout: 100 * time.Millisecond}), limiter.New(open(t, server, Options{Prefix: "permitd", Timeout: patience}))
	c := limiter.New(s)
	put(t, other, "p", roomy)
	ask := limiter.Ask{Provider: "p", Key: "sk-0"}
	if _, err := c.Acquire(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	if _, err := c.Acquire(t.Context(), ask); !errors.Is(err, limiter.ErrStoreUnavailable) {
		t.Errorf("%v", err)
	}
	resumed := time.AfterFunc(50*time.Millisecond, server.Resume)
	defer resumed.Stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := used(t, other); got != 1 {
		t.Errorf("%d used after an orderly end, want the 1 that was granted", got)
	}
}
