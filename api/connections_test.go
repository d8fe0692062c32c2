package api

import (
	"net/http"
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

// TestBusyConnectionsAreKept: where permitd works on requests of all connections a new one waits for its turn.
func TestBusyConnectionsAreKept(t *testing.T) {
	s, store := blocked(t)
	s.connections.most = 2
	r := serve(t, s)
	addr := strings.TrimPrefix(r.url, "http://")
	busy := []*wire{connect(t, addr), connect(t, addr)}
	for _, w := range busy {
		w.send(postPermits + length(ask) + "\r\n\r\n" + ask)
		<-store.entered
	}
	s.open(t, 2, 2)
	third := connect(t, addr)
	third.send(getHealth)
	store.release <- struct{}{}
	third.answered(200)
	store.release <- struct{}{}
	for _, w := range busy {
		if _, err := http.ReadResponse(w.answers, nil); err != nil {
			t.Error("one that was busy is not answered:", err)
		}
	}
	s.open(t, 2, 0)
}

// lateBodies are requests whose bodies do not come, and what they are answered where there are tokens; 0: nothing, until
// the body has come.
var lateBodies = map[string]struct {
	request string
	status  int
}{
	"without a token":   {postPermits + "100\r\n\r\n{", 401},
	"health":            {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", 200},
	"chunked":           {"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 401},
	"too large":         {lateWithToken + "70000\r\n\r\n{", 413},
	"far too large":     {lateWithToken + "9000000\r\n\r\n{", 413},
	"waits for 100":     {"POST /v1/permits HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 401},
	"with a good token": {lateWithToken + "100\r\n\r\n{", 0},
}

const lateWithToken = "POST /v1/permits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
	"Authorization: Bearer permits-token-0123456789\r\nContent-Length: " // and so on

// lateServer is one with tokens and room for so many connections.
func lateServer(t *testing.T, most int) (r *remote, addr string) {
	r = serve(t, New(limiter.New(memstore.New(memstore.Options{})), Options{
		MaxConnections: most, Tokens: parseTokens(t, "permits:late:permits-token-0123456789"),
	}))
	return r, strings.TrimPrefix(r.url, "http://")
}

// TestBodiesThatDoNotComeKeepNobodyOut: a connection on which permitd waits for a body makes way, answered or not.
func TestBodiesThatDoNotComeKeepNobodyOut(t *testing.T) {
	for name, late := range lateBodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, addr := lateServer(t, 2)
			for range 2 {
				connect(t, addr).send(late.request)
			}
			cs := r.server.connections
			eventually(t, func() bool { // each has been answered, or waits for its body
				cs.mu.Lock()
				defer cs.mu.Unlock()
				for c := range cs.open {
					if !c.used {
						return false
					}
				}
				return len(cs.open) == 2 || late.status != 0
			})
			for range 4 {
				w := connect(t, addr)
				if err := w.SetDeadline(time.Now().Add(readTimeout / 3)); err != nil {
					t.Fatal(err)
				}
				w.send(getHealth)
				w.answered(200)
			}
			if got := testutil.ToFloat64(r.server.metrics.displaced); late.status == 0 && got == 0 {
				t.Error("none has made way")
			}
		})
	}
}

// TestAnsweredWithoutItsBody: the connection of a request that is answered without its body is closed soon, unless the
// body comes.
func TestAnsweredWithoutItsBody(t *testing.T) {
	_, addr := lateServer(t, 20)
	for name, late := range lateBodies {
		if late.status == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := connect(t, addr)
			if err := w.SetDeadline(time.Now().Add(readTimeout / 3)); err != nil {
				t.Fatal(err)
			}
			w.send(late.request)
			if !w.answered(late.status) {
				t.Error("does not say that it closes the connection")
			}
			w.ended()
		})
	}
	w := connect(t, addr)
	for range 3 {
		w.send(postPermits + length(ask) + "\r\n\r\n" + ask)
		if w.answered(401) {
			t.Error("closes the connection of one whose body has come")
		}
	}
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
