package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// wire is a client's end of a connection, which sends what it is told to and nothing else.
type wire struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func newWire(t *testing.T, c net.Conn) *wire {
	t.Cleanup(func() { c.Close() })
	return &wire{t, c, bufio.NewReader(c)}
}

// connect makes a connection to a server.
func connect(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return newWire(t, c)
}

const (
	getHealth   = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	postPermits = "POST /v1/permits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " // and so on
)

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, text); err != nil {
		w.t.Fatal(err)
	}
}

// answered reads an answer, and reports whether it says that the connection will be closed.
func (w *wire) answered(status int) (closes bool) {
	w.t.Helper()
	resp, err := http.ReadResponse(w.answers, nil)
	if err != nil {
		w.t.Fatal("no answer:", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status {
		w.t.Errorf("status %d, want %d (%v)", resp.StatusCode, status, err)
	}
	return resp.Close
}

// ended waits until the server has closed the connection.
func (w *wire) ended() {
	w.t.Helper()
	if b, err := w.answers.ReadByte(); !errors.Is(err, io.EOF) {
		w.t.Errorf("read %q, %v; want the end", b, err)
	}
}

// pipes is a listener for connections within the process.
type pipes struct {
	made   chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) connect(t *testing.T) *wire {
	here, there := net.Pipe()
	p.made <- there
	return newWire(t, here)
}

// TestSilentConnectionsAreSeenOff: a server that stops answers what still comes on its connections, and closes each when
// nothing has come for two seconds; a new one has the time that it has anyway.
func TestSilentConnectionsAreSeenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(limiter.New(memstore.New(memstore.Options{})), Options{})
		p := pipes{make(chan net.Conn), make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(p) }()
		used, late, slow, fresh := p.connect(t), p.connect(t), p.connect(t), p.connect(t)
		for _, w := range []*wire{used, late, slow} {
			w.send(getHealth)
			if w.answered(200) {
				t.Error("closes a connection that could be used on")
			}
		}
		time.Sleep(time.Second) // of the test's own time
		newest := p.connect(t)
		began := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()

		time.Sleep(quiet * 3 / 5)
		late.send(getHealth)
		slow.send(getHealth[:20])
		if !late.answered(200) {
			t.Error("does not say that it closes the connection")
		}
		late.ended()
		used.ended()
		if took := time.Since(began); took < quiet || took > quiet+100*time.Millisecond {
			t.Errorf("a connection that was used is closed after %v", took)
		}
		time.Sleep(quiet / 10)
		slow.send(getHealth[20:])
		slow.answered(200)
		slow.ended()
		fresh.ended()
		newest.send(getHealth)
		if !newest.answered(200) {
			t.Error("does not say that it closes a new connection")
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > readHeaderTimeout {
			t.Errorf("took %v", took)
		}
		if err := <-served; err != nil {
			t.Error("Serve:", err)
		}
	})
}

// TestABodyIsWaitedForWhileStopping: a request that is under way may be slow.
func TestABodyIsWaitedForWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(limiter.New(memstore.New(memstore.Options{})), Options{})
		p := pipes{make(chan net.Conn), make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(p) }()
		w := p.connect(t)
		w.send(postPermits + length(ask) + "\r\n\r\n" + ask[:1])
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		time.Sleep(3 * quiet)
		w.send(ask[1:])
		w.answered(404)
		w.ended()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error("Serve:", err)
		}
	})
}

// TestEveryAnswerClosesWhileStopping: whatever is answered, also to requests that came before.
func TestEveryAnswerClosesWhileStopping(t *testing.T) {
	s, store := blocked(t)
	r := serve(t, s)
	addr := strings.TrimPrefix(r.url, "http://")
	before := connect(t, addr)
	before.send(postPermits + length(ask) + "\r\n\r\n" + ask)
	<-store.entered
	s.MarkStopping()
	store.release <- struct{}{}
	if !before.answered(200) {
		t.Error("what was asked before keeps its connection")
	}
	before.ended()
	for request, status := range map[string]int{
		"GET /healthz": 200, "HEAD /healthz": 200, "GET /readyz": 503, "GET /nothing": 404, "PATCH /v1/permits": 405,
		"GET /metrics": 200, "GET /openapi.json": 200, "GET /docs": 200, "GET /docs/swagger-ui.css": 200, "POST /v1/permits": 415,
	} {
		w := connect(t, addr)
		w.send(request + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(w.answers, &http.Request{Method: strings.Fields(request)[0]})
		if err != nil {
			t.Fatal(request, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if !resp.Close || resp.StatusCode != status {
			t.Errorf("%s: status %d, closes: %v", request, resp.StatusCode, resp.Close)
		}
		w.ended()
	}
}

// TestThoseWhoWaitAreLetIn: connections that were made before the listener closes are accepted.
func TestThoseWhoWaitAreLetIn(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newTestServer(t, nil)
	l := newListener(tcp, s.connections)
	var waiting []*wire
	for range 3 {
		waiting = append(waiting, connect(t, tcp.Addr().String()))
	}
	s.connections.stop()
	stopped := make(chan struct{})
	go func() { l.stop(); close(stopped) }()
	for range waiting {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	<-stopped
	if c, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
		c.Close()
		t.Error("still listens")
	}
}

// TestMultiplexedDrain: HTTP/2 clients are told to go away with an answer, or when the server shuts down, and what is
// under way is answered.
func TestMultiplexedDrain(t *testing.T) {
	s, store := blocked(t)
	borrowed := httptest.NewTLSServer(nil)
	defer borrowed.Close()
	s.http.TLSConfig = &tls.Config{Certificates: borrowed.TLS.Certificates}
	r := serve(t, s)
	transport := borrowed.Client().Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = true
	r.client, r.url = borrowed.Client(), "https"+strings.TrimPrefix(r.url, "http")
	get := func() (reused bool) {
		t.Helper()
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
		ctx := httptrace.WithClientTrace(t.Context(), trace)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Proto != "HTTP/2.0" || resp.StatusCode != 200 {
			t.Errorf("%s %d %v", resp.Proto, resp.StatusCode, err)
		}
		return reused
	}
	get()
	if !get() {
		t.Error("the connection is not used again")
	}
	answered := make(chan answer, 1)
	go func() { answered <- r.permit(ask) }()
	<-store.entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	eventually(t, s.connections.isStopping)
	store.release <- struct{}{}
	if got := <-answered; got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if resp, err := r.client.Get(r.url + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("still answers")
	} else if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("an HTTP/2 client sends on a connection that it was told to leave: %v", err)
	}
}
