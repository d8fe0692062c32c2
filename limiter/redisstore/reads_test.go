package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// lengthen puts so many revisions of so many bytes before what the history of a provider has.
func lengthen(t *testing.T, s *Store, server *redistest.Server, provider string, revisions, size int) {
	t.Helper()
	client := server.Client()
	defer client.Close()
	body := []byte(`{"x":"` + strings.Repeat("x", size) + `"}`)
	pipe := client.Pipeline()
	for n := range revisions {
		item, err := encodeRecord(limiter.Record{Revision: int64(n + 2), Body: body})
		if err != nil {
			t.Fatal(err)
		}
		pipe.LPush(t.Context(), s.keys.history(provider), "0\n1\n"+string(item))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestSlowReadsLeaveDecisionsAlone has two viewers read a history of 39 MB, over connections that take 20 s for all of it,
// while permits are asked for.
func TestSlowReadsLeaveDecisionsAlone(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	proxy.Slow(2 << 20)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s := connect(t, redisclient.Config{URL: proxy.URL()}, Options{Timeout: time.Second, Logger: logger})
	c := limiter.New(s)
	put(t, c, "p", roomy)
	lengthen(t, s, server, "p", 1000, 39<<10)

	var viewers sync.WaitGroup
	for range 2 {
		viewers.Go(func() {
			before := int64(0)
			for range 3 {
				items, oldest, err := c.History(context.Background(), "p", before, 1000)
				if err != nil || len(items) == 0 || oldest != 1 {
					t.Errorf("a page: %d items, oldest %d, %v", len(items), oldest, err)
					return
				}
				before = items[len(items)-1].Revision
			}
		})
	}
	read := make(chan struct{})
	go func() {
		viewers.Wait()
		close(read)
	}()
	for asks, more := 0, true; more || asks < 100; asks++ {
		if d, err := c.Acquire(t.Context(), limiter.Ask{Provider: "p", Key: "sk-0"}); err != nil || !d.Allowed {
			t.Fatalf("ask %d: %+v, %v", asks, d, err)
		}
		select {
		case <-read:
			more = false
		default:
		}
	}
	<-read
	if !s.Nodes()[0].Up || strings.Contains(log.String(), "Redis is down") {
		t.Errorf("Redis was taken to be down: %s", &log)
	}
}

// TestFailingReadsAreNoOutage: reads that fail have Redis probed, and it answers.
func TestFailingReadsAreNoOutage(t *testing.T) {
	s := open(t, redistest.Start(t), Options{Timeout: patience})
	put(t, limiter.New(s), "p", roomy)
	key := s.keys.history("p")
	for range 3 * maxFailures {
		if _, err := s.nodes.only.beside(t.Context(), key, func() (any, error) { return nil, io.EOF }); !errors.Is(err, io.EOF) {
			t.Fatalf("%v, want what the read said", err)
		}
	}
	for deadline := time.Now().Add(patience); s.nodes.only.doubted.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still probed")
		}
	}
	if !s.Nodes()[0].Up {
		t.Error("taken to be down")
	}
}

// TestReadsFindRedisDown: where nobody asks for permits, an outage is found by what a read that gets no answer has probed.
func TestReadsFindRedisDown(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server, Options{Timeout: 20 * time.Millisecond})
	c := limiter.New(open(t, server, Options{Prefix: s.keys.prefix, Timeout: patience}))
	put(t, c, "p", roomy)
	server.Pause()
	defer server.Resume()
	reading, cancel := context.WithCancel(t.Context())
	defer cancel()
	go limiter.New(s).Policy(reading, "p") // has longer than it takes to find out
	awaitUp := func(up bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); s.nodes.only.down.Load() == up; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not up: %t", !up)
			}
		}
	}
	awaitUp(false)
	if _, err := limiter.New(s).Policy(t.Context(), "p"); !errors.Is(err, errDown) {
		t.Errorf("%v, want that nothing was sent", err)
	}
	server.Resume()
	awaitUp(true)
}

// TestManyDocumentsAtOnce: asks that are told of more than a call may bring ask again for the rest.
func TestManyDocumentsAtOnce(t *testing.T) {
	s := open(t, redistest.Shared(t), Options{Timeout: patience})
	put(t, limiter.New(s), "p", roomy)
	var asks []limiter.Ask
	for i := range maxAsks {
		note := strings.Repeat("n", 100<<10)
		r := limiter.Record{Revision: 1, Tag: fmt.Sprint(i), Generation: "1", Note: note, Body: []byte(`{}`)}
		if _, err := s.Swap(t.Context(), registered(i), "", r); err != nil {
			t.Fatal(err)
		}
		asks = append(asks, limiter.Ask{Provider: "p", Key: fmt.Sprintf("sk-%d", i)})
	}
	for i, r := range limiter.New(s).AcquireBatch(t.Context(), asks) {
		if r.Err != nil || !r.Decision.Allowed {
			t.Fatalf("%d: %+v", i, r)
		}
	}
}

// TestInstancesInPieces lists more instances than are read at once.
func TestInstancesInPieces(t *testing.T) {
	s, set := openSettable(t) // so that none is taken to have left meanwhile
	set(limiter.InstantOf(time.Now()))
	applied := map[string]int64{}
	for i := range 1000 {
		applied[fmt.Sprintf("a-provider-with-a-rather-long-name-%04d", i)] = 1
	}
	const many = 20
	var all []limiter.Instance
	for i := range many {
		var err error
		if all, err = s.Instances(t.Context(), &limiter.Instance{ID: fmt.Sprintf("i%02d", i), Applied: applied}); err != nil {
			t.Fatal(err)
		}
	}
	for i, in := range all {
		if in.ID != fmt.Sprintf("i%02d", i) || len(in.Applied) != len(applied) {
			t.Errorf("%d is %s", i, in.ID)
		}
	}
	if len(all) != many {
		t.Errorf("%d of %d", len(all), many)
	}
}
