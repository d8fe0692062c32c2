package main

import (
	"net"
	"net/http"
	"time"
)

// upstream is a provider as its clients know it.
type upstream struct {
	url   string // base URL of its calls
	meter *meter
}

// servedProvider is a mock provider that runs.
type servedProvider struct {
	name string
	upstream
	flow *flow
}

type servedProviders []servedProvider

// providerResults are what was measured at one provider.
type providerResults struct {
	usage usage
	flow  *flow
}

// serveProviders runs a mock of each provider, on ports of their own, until stop is called.
func (p *plan) serveProviders(clock func() time.Duration) (served servedProviders, stop func(), err error) {
	var stops stopper
	for _, pp := range p.providers {
		m, f := &meter{now: clock}, newFlow(p.slot(), pp.mock.amount, p.per)
		url, stop, err := serveLocal(newMockProvider(mockConfig{
			limits: pp.mock, pace: p.reserving.calls(), account: pp.account, now: clock,
			arrived: func(now time.Duration, tokens int64, admitted bool) {
				f.arrive(now, tokens, admitted)
				if admitted {
					m.admit(tokens)
				}
			},
		}))
		if err != nil {
			stops.stop()
			return nil, nil, err
		}
		stops.add(stop)
		served = append(served, servedProvider{pp.name, upstream{url, m}, f})
	}
	return served, stops.stop, nil
}

// byName is what clients know of them.
func (s servedProviders) byName() map[string]*upstream {
	named := map[string]*upstream{}
	for i := range s {
		named[s[i].name] = &s[i].upstream
	}
	return named
}

// read returns what was measured at each.
func (s servedProviders) read() []providerResults {
	list := make([]providerResults, len(s))
	for i, one := range s {
		list[i] = providerResults{one.meter.read(), one.flow}
	}
	return list
}

// stopper stops several things, the last first.
type stopper struct{ all []func() }

func (s *stopper) add(stop func()) { s.all = append(s.all, stop) }

func (s *stopper) stop() {
	for i := len(s.all) - 1; i >= 0; i-- {
		s.all[i]()
	}
}

// serveLocal serves on a free port of this machine until stop is called.
func serveLocal(h http.Handler) (url string, stop func(), err error) {
	return serveAt("127.0.0.1:0", h)
}

// serveAt serves at an address until stop is called, which ends calls under way.
func serveAt(addr string, h http.Handler) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: callTimeout}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends when closed
	}()
	return "http://" + listener.Addr().String(), func() { server.Close(); <-done }, nil
}
