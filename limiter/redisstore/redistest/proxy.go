package redistest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/time/rate"
)

// Proxy stands between clients and a server, can lose replies, and can be slow.
type Proxy struct {
	listener net.Listener
	server   string
	loss     atomic.Int64 // in a million
	lost     atomic.Int64
	speed    atomic.Int64 // of a connection, in bytes a second; 0: no bound
	mu       sync.Mutex
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

// NewProxy forwards to a server until the test ends.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: s.Addr(), open: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.running.Wait()
	})
	return p
}

// URL is where clients reach the server through the proxy.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Addr is its address.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Lose makes the proxy cut that share of the connections instead of passing on what the server said.
func (p *Proxy) Lose(share float64) { p.loss.Store(int64(share * 1e6)) }

// Slow has each connection that is made from now on pass on no more than so many bytes a second of what the server says.
func (p *Proxy) Slow(speed int64) { p.speed.Store(speed) }

// Lost is how many replies were lost.
func (p *Proxy) Lost() int { return int(p.lost.Load()) }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		var replica atomic.Bool
		p.running.Go(func() { p.pass(client, server, nil, &replica) })
		p.running.Go(func() { p.pass(server, client, &replica, nil) })
	}
}

// pass copies what one side says to the other until either ends. Replicas, known by what they say, lose nothing.
func (p *Proxy) pass(from, to net.Conn, toReplica, fromReplica *atomic.Bool) {
	defer p.end(from, to)
	buf := make([]byte, 64<<10)
	pace := rate.NewLimiter(rate.Inf, len(buf))
	if speed := p.speed.Load(); speed > 0 && toReplica != nil {
		pace.SetLimit(rate.Limit(speed))
	}
	for {
		n, err := from.Read(buf)
		if fromReplica != nil && bytes.Contains(buf[:n], []byte("REPLCONF")) {
			fromReplica.Store(true)
		}
		if toReplica != nil && n > 0 && !toReplica.Load() && rand.Int64N(1e6) < p.loss.Load() {
			p.lost.Add(1)
			return
		}
		if err != nil {
			return
		}
		_ = pace.WaitN(context.Background(), n) // there is no deadline, and no more than fits
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *Proxy) end(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.open, c)
	}
}

// cut ends every connection.
func (p *Proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}
