package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// lossyProxy forwards all that it is asked, and loses a share of the answers: the client's connection is closed instead.
type lossyProxy struct {
	share float64
	lost  func() // called for each answer that is lost

	mu     sync.Mutex
	random *rand.Rand
}

// newLossyProxy makes one of which the n-th answer of a seed is always lost, or never.
func newLossyProxy(share float64, seed uint64, lost func()) *lossyProxy {
	return &lossyProxy{share: share, lost: lost, random: rand.New(rand.NewPCG(seed, 0x6c6f7373))} // a stream of its own
}

var errLost = errors.New("the answer is lost")

// lose is called with each answer.
func (p *lossyProxy) lose(*http.Response) error {
	p.mu.Lock()
	lost := p.random.Float64() < p.share
	p.mu.Unlock()
	if !lost {
		return nil
	}
	p.lost()
	return errLost
}

// serve listens in front of the permitd at base, until stop is called.
func (p *lossyProxy) serve(base string) (at string, stop func(), err error) {
	target, err := url.Parse(base)
	if err != nil {
		return "", nil, fmt.Errorf("start the lossy proxy: %w", err)
	}
	client := newHTTPClient()
	at, end, err := serveLocal(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      client.Transport,
		ModifyResponse: p.lose,
		// Whatever went wrong, the client gets no answer.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	if err != nil {
		return "", nil, fmt.Errorf("start the lossy proxy: %w", err)
	}
	return at, func() { end(); client.CloseIdleConnections() }, nil
}

// serveLossy puts one proxy in front of each permitd.
func serveLossy(p *lossyProxy, permitd []string) (at []string, stop func(), err error) {
	var stops stopper
	for _, base := range permitd {
		url, stopOne, err := p.serve(base)
		if err != nil {
			stops.stop()
			return nil, nil, err
		}
		at = append(at, url)
		stops.add(stopOne)
	}
	return at, stops.stop, nil
}
