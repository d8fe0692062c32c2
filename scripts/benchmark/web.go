package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/limiter"
)

// Contenders that goals are about or measured by.
const (
	webBare       = "HTTP, bare Echo"
	webRedis      = "HTTP, decided in Redis"
	webMemory     = "HTTP, embedded store"
	webDenied     = "HTTP, denied"
	webBatch      = "HTTP, batches of 100"
	webLone       = "HTTP, lone permit"
	webLoneScript = "HTTP, lone Echo with bare EVALSHA"
)

const (
	permitsPath  = "/v1/permits"
	batchPath    = "/v1/permits/batch"
	batchSize    = 100
	batchClients = 8
)

// web are the contenders that answer over HTTP, each on a port of its own, to clients that keep their connection.
func (b *bed) web() []maker {
	viaRedis := b.serving(func(context.Context) (http.Handler, error) { return permits(b.viaRedis), nil })
	viaMemory := b.serving(func(context.Context) (http.Handler, error) { return permits(b.viaMemory), nil })
	bare := b.serving(func(context.Context) (http.Handler, error) { return bareEcho(nil), nil })
	bareScript := b.serving(b.bareScriptEcho)
	lone, loneScript := b.asks(webLone, viaRedis), b.asks(webLoneScript, bareScript)
	for _, m := range []*maker{&lone, &loneScript} {
		m.callers, m.timed, m.redis = 1, true, true
	}
	decided := b.asks(webRedis, viaRedis)
	decided.redis = true
	return []maker{b.asks(webBare, bare), decided, b.asks(webMemory, viaMemory), b.denied(viaRedis), b.batches(viaRedis), lone, loneScript}
}

// server is where the server listens; it is started when that is asked for the first time.
type server func(context.Context) (addr string, err error)

// permits is permitd's own handler.
func permits(c *limiter.Coordinator) http.Handler {
	s := api.New(c, api.Options{LoopbackOnly: true}) // as permitd serves by default
	s.MarkReady()
	return s
}

// serving serves a handler until the bed is closed.
func (b *bed) serving(handler func(context.Context) (http.Handler, error)) server {
	var once sync.Once
	var addr string
	var err error
	return func(ctx context.Context) (string, error) {
		once.Do(func() {
			var h http.Handler
			if h, err = handler(ctx); err != nil {
				return
			}
			addr, err = b.serve(h)
		})
		return addr, err
	}
}

// serve serves a handler on a free port. There are timeouts as in package api, since they cost time; but connections may
// be idle between rounds.
func (b *bed) serve(h http.Handler) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Hour}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends when closed
	}()
	b.later(func() { s.Close(); <-done })
	return l.Addr().String(), nil
}

// client is a caller that sends requests in turn, from the one that first says. check judges the answers.
func (b *bed) client(ctx context.Context, s server, path string, bodies [][]byte, first int, check func(status int, body []byte) error) (call, error) {
	addr, err := s(ctx)
	if err != nil {
		return nil, err
	}
	w, err := dialWire(addr)
	if err != nil {
		return nil, err
	}
	b.later(w.close)
	requests := make([][]byte, len(bodies))
	for i := range bodies {
		requests[i] = post(addr, path, bodies[(first+i)%len(bodies)])
	}
	next := 0
	return func(context.Context) error {
		status, body, err := w.send(requests[next])
		if err != nil {
			return err
		}
		next = (next + 1) % len(requests)
		return check(status, body)
	}, nil
}

// ask is the JSON of an ask.
func ask(provider, key string) []byte {
	return fmt.Appendf(nil, `{"provider":%q,"key":%q,"model":%q,"cost":{"input_tokens":1200,"output_tokens":300}}`, provider, key, model)
}

// asks has clients ask for one permit at a time.
func (b *bed) asks(name string, s server) maker {
	var bodies [][]byte
	for _, key := range b.keys {
		bodies = append(bodies, ask(roomy, key))
	}
	caller := func(ctx context.Context, n int) (call, error) {
		return b.client(ctx, s, permitsPath, bodies, n*37, expect(http.StatusOK))
	}
	return maker{contender{name: name, per: 1}, callers, caller}
}

// denied has each client ask on and on for a key that has nothing left.
func (b *bed) denied(s server) maker {
	caller := func(ctx context.Context, n int) (call, error) {
		return b.client(ctx, s, permitsPath, [][]byte{ask(spent, b.keys[n])}, 0, expect(http.StatusTooManyRequests))
	}
	return maker{contender{name: webDenied, per: 1, redis: true}, callers, caller}
}

// expect is a check of the status.
func expect(want int) func(int, []byte) error {
	return func(status int, body []byte) error {
		if status != want {
			return fmt.Errorf("answered %d, not %d: %s", status, want, body)
		}
		return nil
	}
}

// batches has clients ask for many permits at once.
func (b *bed) batches(s server) maker {
	var bodies [][]byte
	for at := 0; at < len(b.keys); at += batchSize {
		var all [][]byte
		for _, key := range b.keys[at : at+batchSize] {
			all = append(all, ask(roomy, key))
		}
		bodies = append(bodies, fmt.Appendf(nil, `{"permits":[%s]}`, bytes.Join(all, []byte(","))))
	}
	check := func(status int, body []byte) error {
		if err := expect(http.StatusOK)(status, body); err != nil {
			return err
		}
		if bytes.Count(body, []byte(`"allowed":true`)) != batchSize {
			return errors.New("not all permits of a batch were granted")
		}
		return nil
	}
	caller := func(ctx context.Context, n int) (call, error) {
		return b.client(ctx, s, batchPath, bodies, n, check)
	}
	return maker{contender{name: webBatch, per: batchSize, redis: true}, batchClients, caller}
}
