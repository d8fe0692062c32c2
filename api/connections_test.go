package api

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

func length(text string) string { return strconv.Itoa(len(text)) }

// boundedServer is one with room for so many connections.
func boundedServer(t *testing.T, most int) (r *remote, addr string) {
	r = serve(t, New(limiter.New(memstore.New(memstore.Options{})), Options{MaxConnections: most}))
	return r, strings.TrimPrefix(r.url, "http://")
}

// open waits until so many connections are open, and requests under way on so many of them.
func (s *Server) open(t *testing.T, want, busy int) {
	t.Helper()
	eventually(t, func() bool {
		s.connections.mu.Lock()
		defer s.connections.mu.Unlock()
		return len(s.connections.open) == want && s.connections.silent.Len() == want-busy
	})
}

// TestTheLongestSilentMakesWay: beyond the bound a new connection takes the place of the one on which nothing has
// happened for longest, whether it was ever used or not.
func TestTheLongestSilentMakesWay(t *testing.T) {
	r, addr := boundedServer(t, 3)
	next := 0
	opened := func() *wire {
		t.Helper()
		w := connect(t, addr)
		next = min(next+1, 3)
		r.server.open(t, next, 0)
		return w
	}
	used := func(w *wire) {
		t.Helper()
		w.send(getHealth)
		w.answered(200)
		r.server.open(t, next, 0)
	}
	first, halfOpen, third := opened(), opened(), opened()
	used(third)
	used(first)
	fourth := opened()
	halfOpen.ended()
	used(fourth)
	fifth := opened()
	third.ended()
	for _, w := range []*wire{first, fourth, fifth} {
		used(w)
	}
	if got := testutil.ToFloat64(r.server.metrics.displaced); got != 2 {
		t.Errorf("%v displaced", got)
	}
	if got := testutil.ToFloat64(r.server.metrics.connections); got != 3 {
		t.Errorf("%v open", got)
	}
}

// TestAFloodOfConnections: silent connections without end keep nobody out, and there are never more than allowed.
func TestAFloodOfConnections(t *testing.T) {
	r, addr := boundedServer(t, 8)
	for range 200 {
		connect(t, addr)
	}
	w := connect(t, addr)
	w.send(getHealth)
	w.answered(200)
	r.server.connections.mu.Lock()
	defer r.server.connections.mu.Unlock()
	if n := len(r.server.connections.open); n > 8 {
		t.Errorf("%d open", n)
	}
}

// TestBusyConnectionsAreKept: where requests are under way on all connections a new one waits for its turn.
func TestBusyConnectionsAreKept(t *testing.T) {
	r, addr := boundedServer(t, 2)
	const body = `{"provider":"nobody","key":"sk-1"}`
	busy := []*wire{connect(t, addr), connect(t, addr)}
	for _, w := range busy {
		w.send(postPermits + length(body) + "\r\n\r\n")
	}
	r.server.open(t, 2, 2)
	third := connect(t, addr)
	third.send(getHealth)
	busy[0].send(body)
	busy[0].answered(404)
	third.answered(200)
	busy[0].ended()
	busy[1].send(body)
	busy[1].answered(404)
	r.server.open(t, 2, 0)
}

// TestIdleTimeout is longer than balancers keep connections, and can be set.
func TestIdleTimeout(t *testing.T) {
	s, _ := newTestServer(t, nil)
	if got := s.http.IdleTimeout; got != 11*time.Minute {
		t.Errorf("%v", got)
	}
	if got := New(s.coordinator, Options{IdleTimeout: time.Second}).http.IdleTimeout; got != time.Second {
		t.Errorf("%v", got)
	}
}
