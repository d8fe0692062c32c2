package api

import (
	"container/list"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// connections are what a server has open, those included on which no request has come yet. At most a fixed number are
// open at once: beyond it, the one that has been silent for longest makes way for a new one. One whose request is answered
// is silent, and so is one that owes the rest of a body. While permitd works on requests of all of them, new ones wait to
// be accepted.
type connections struct {
	most    int
	metrics *Metrics
	log     *slog.Logger

	mu       sync.Mutex
	changed  sync.Cond // a connection closed, or fell silent, or the server stops
	stopping bool
	open     map[*connection]struct{}
	silent   list.List // of *connection that are not busy, the longest silent first
	warned   rate.Sometimes
}

func newConnections(most int, metrics *Metrics, log *slog.Logger) *connections {
	cs := &connections{
		most:    most,
		metrics: metrics,
		log:     log,
		open:    map[*connection]struct{}{},
		warned:  rate.Sometimes{First: 1, Interval: time.Minute},
	}
	cs.changed.L = &cs.mu
	return cs
}

// connection is one that a server has open. Everything that is not atomic is guarded by the mutex of all.
type connection struct {
	net.Conn
	all         *connections
	heard       atomic.Int64  // how often something came
	place       *list.Element // in all.silent; nil while it is busy, and once it was hung up
	hungUp      bool          // or closed
	used        bool          // a request has come
	underWay    int           // requests that have come and are not answered
	awaited     int           // those of them whose bodies are being read
	unread      bool          // the body of the last request was not read to its end; of HTTP/1
	multiplexed bool          // it speaks HTTP/2

	// What dismiss knows: heard as it was, and how often it has been the same since.
	known  int64
	silent int
}

// add takes in a new connection, and makes way for it if need be. It returns nil if it came too late: the server stops
// before there is room.
func (cs *connections) add(nc net.Conn) *connection {
	c := &connection{Conn: nc, all: cs}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for asked := false; len(cs.open) >= cs.most; cs.changed.Wait() {
		if cs.stopping {
			return nil
		}
		asked = asked || cs.makeWay()
	}
	cs.open[c] = struct{}{}
	c.place = cs.silent.PushBack(c)
	cs.metrics.connections.Inc()
	return c
}

// makeWay hangs up the connection that has been silent for longest. It reports whether there is one. The mutex is held.
func (cs *connections) makeWay() bool {
	front := cs.silent.Front()
	if front == nil {
		return false
	}
	front.Value.(*connection).hangUp()
	cs.metrics.displaced.Inc()
	cs.warned.Do(func() {
		cs.log.Warn("too many connections are open: the longest silent make way for new ones; "+
			"raise --max-connections, or the process' limit of open files, if the clients are all yours", "open", len(cs.open))
	})
	return true
}

// observe is an http.Server's ConnState: it learns which connections speak HTTP/2.
func (cs *connections) observe(nc net.Conn, state http.ConnState) {
	c, encrypted := connectionOf(nc)
	if c == nil || encrypted == nil || state != http.StateActive {
		return
	}
	multiplexed := encrypted.ConnectionState().NegotiatedProtocol == "h2"
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.multiplexed = multiplexed
}

type connectionKey struct{}

// introduce is an http.Server's ConnContext: it has requests know their connection.
func (cs *connections) introduce(ctx context.Context, nc net.Conn) context.Context {
	c, _ := connectionOf(nc)
	return context.WithValue(ctx, connectionKey{}, c)
}

// connectionIn is the connection on which a request came, nil if it came on none. All may be asked of nil.
func connectionIn(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

// begin takes note of a request. The caller ends it.
func (c *connection) begin(r *http.Request) {
	c.note(func() {
		c.used = true
		c.underWay++
		c.unread = r.ContentLength != 0
	})
}

// end takes note that a request is answered. What is left of its body is for net/http to read.
func (c *connection) end() { c.note(func() { c.underWay-- }) }

// await takes note that the body of a request is going to be read.
func (c *connection) await() { c.note(func() { c.awaited++ }) }

// received takes note that a body is not waited for any more, and whether it was read to its end.
func (c *connection) received(whole bool) {
	c.note(func() {
		c.awaited--
		c.unread = c.unread && !whole
	})
}

// owes reports whether the rest of a body is still to come.
func (c *connection) owes() bool {
	if c == nil {
		return false
	}
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	return c.unread
}

// note changes what is known of the requests of a connection, and with it whether it is busy: permitd works on one.
func (c *connection) note(change func()) {
	if c == nil {
		return
	}
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	change()
	switch {
	case c.underWay > c.awaited:
		c.leaveQueue()
	case !c.hungUp && c.place == nil:
		c.place = c.all.silent.PushBack(c)
		c.all.changed.Broadcast()
	}
}

// connectionOf is the connection that a server got from its listener, and what encrypts it, if anything does.
func connectionOf(nc net.Conn) (*connection, *tls.Conn) {
	encrypted, ok := nc.(*tls.Conn)
	if ok {
		nc = encrypted.NetConn()
	}
	c, _ := nc.(*connection)
	return c, encrypted
}

// stop has nobody wait for room any more.
func (cs *connections) stop() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.stopping = true
	cs.changed.Broadcast()
}

func (cs *connections) isStopping() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.stopping
}

// dismiss hangs up the connections that speak HTTP/1, have been used, and were silent each time that it was called of late,
// so many times. It returns how many of HTTP/1 are still open. Time is counted in calls since a process that was stopped
// for a while has not heard what came meanwhile. A connection that was never used is about to be: it has
// readHeaderTimeout.
func (cs *connections) dismiss(times int) (left int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if c.multiplexed {
			continue
		}
		left++
		if heard := c.heard.Load(); c.underWay > 0 || c.known != heard {
			c.known, c.silent = heard, 0
		}
		if c.silent++; c.silent > times && c.used && !c.hungUp {
			c.hangUp()
		}
	}
	return left
}

// hangUp has the server read the end of the connection, so that it closes it. A request that has arrived by then is
// still read, and answered. The mutex of all is held.
func (c *connection) hangUp() {
	c.leaveQueue()
	c.hungUp = true
	if tcp, ok := c.Conn.(interface{ CloseRead() error }); ok {
		_ = tcp.CloseRead() // or the client has closed it
		return
	}
	_ = c.Conn.Close()
}

func (c *connection) leaveQueue() {
	if c.place != nil {
		c.all.silent.Remove(c.place)
		c.place = nil
	}
}

// Read takes note that something came.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Add(1)
	}
	return n, err
}

// CloseWrite is how an http.Server makes sure that its last answer arrives.
func (c *connection) CloseWrite() error {
	if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// Close makes room for another.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if _, ok := c.all.open[c]; ok {
		delete(c.all.open, c)
		c.leaveQueue()
		c.hungUp = true
		c.all.metrics.connections.Dec()
		c.all.changed.Broadcast()
	}
	return err
}
