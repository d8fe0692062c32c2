package main

import (
	"net"
	"sync"
	"time"
)

// conduct is what a proxy does with what it is given.
type conduct int

const (
	passes  conduct = iota // it passes it on
	lags                   // it passes it on later
	resets                 // it ends all connections, with a reset
	ignores                // it accepts connections, and neither passes anything on nor answers
)

const lag = 300 * time.Millisecond

// proxy stands between permitd and Redis.
type proxy struct {
	listener net.Listener
	server   string

	mu      sync.Mutex
	conduct conduct
	open    map[*net.TCPConn]bool
	running sync.WaitGroup
}

func newProxy(server string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, server: server, open: map[*net.TCPConn]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) close() {
	p.listener.Close()
	p.act(resets)
	p.running.Wait()
}

// act changes what the proxy does. Connections that it ignored stay ignored, as those behind a failed switch do.
func (p *proxy) act(c conduct) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conduct = c
	if c == resets {
		for conn := range p.open {
			reset(conn)
		}
	}
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // what is on its way is lost, and the other side is told so
	conn.Close()
}

// now is what the proxy does at the moment.
func (p *proxy) now() conduct {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conduct
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

func (p *proxy) serve(client *net.TCPConn) {
	conn, err := net.Dial("tcp", p.server)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	if !p.keep(client, server) {
		return
	}
	p.running.Go(func() { p.pass(client, server) })
	p.pass(server, client)
}

// keep takes note of two open connections, unless all are reset.
func (p *proxy) keep(conns ...*net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.open[c] = true; p.conduct == resets {
			delete(p.open, c)
			reset(c)
		}
	}
	return p.conduct != resets
}

// chunk is what was read, and when it is passed on.
type chunk struct {
	text []byte
	due  time.Time
}

// pass copies what one side says to the other until either ends.
func (p *proxy) pass(from, to *net.TCPConn) {
	chunks := make(chan chunk, 1<<10)
	p.running.Go(func() {
		defer p.end(from, to)
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.text); err != nil {
				break
			}
		}
		reset(from) // so that the reader ends
		for range chunks {
		}
	})
	defer close(chunks)
	ignored := false
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		c := chunk{text: buf[:n]}
		switch now := p.now(); {
		case ignored || now == ignores:
			ignored = true
			continue
		case now == lags:
			c.due = time.Now().Add(lag)
		}
		chunks <- c
	}
}

func (p *proxy) end(conns ...*net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.open, c)
	}
}
