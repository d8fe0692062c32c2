package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// clients are the callers of the provider, one for each request of the trace.
type clients struct {
	http     *http.Client // for permitd
	upstream *http.Client // for the provider, whose answers may take long
	local    local        // asked in place of permitd; nil: permitd is
	permitd  []string     // base URLs, asked in turn; none, and no local: the provider is called at will
	token    string       // for permitd
	costs    []costRule
	patience time.Duration
	seed     uint64
	replicas int // over which clients are spread, for what is local

	reserving *reserving // nil: permits are charged what the request costs, and not held
	runID     string     // no other run has the same

	providers map[string]*upstream

	turn  atomic.Uint64
	tally *tally
}

// serve takes one request, meant to start at start, to its end: admitted by the provider, given up, or failed; and with
// --reserve, its call over and settled. The n-th request of a seed always draws the same jitter.
func (c *clients) serve(ctx context.Context, n int, r *row, start time.Time) {
	h := c.newHold(n)
	if answer := c.admit(ctx, r, c.asker(n, r, h), h, start, rand.New(rand.NewPCG(c.seed, uint64(n)))); answer != nil {
		c.settle(ctx, h, answer)
	}
}

// asker is whom the n-th request asks; nil for nobody.
func (c *clients) asker(n int, r *row, h *hold) asker {
	switch {
	case c.local != nil:
		return c.local.asker(replicaOf(n, c.seed, c.replicas), r)
	case len(c.permitd) > 0:
		return &permitAsker{c, r, h}
	}
	return nil
}

// admit tries until the provider admits the call. It returns an answer that is to be read, of a client with a hold.
func (c *clients) admit(ctx context.Context, r *row, asks asker, h *hold, start time.Time, random *rand.Rand) *http.Response {
	w := waiting{meter: c.providers[r.Provider].meter, tokens: tokensOf(r)}
	defer w.set(false)
	due := start
	for refusals := 0; ; refusals++ {
		v, answer, err := c.attempt(ctx, r, asks, h, &w, start, due)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errPatience):
			c.tally.giveUp()
			return nil
		case err != nil:
			c.tally.fail(err)
			return nil
		case v.granted:
			c.tally.finish(time.Since(start), r)
			return answer
		}
		w.set(!v.ofAccount)
		wait := backoff(refusals, v.wait, random)
		due = time.Now().Add(wait)
		if due.Sub(start) > c.patience {
			c.tally.giveUp()
			return nil
		}
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

var errPatience = errors.New("out of patience")

// attempt asks, which was meant to happen at due, and calls the provider if it may. Granted is a call that the provider
// took, whose answer has begun if there is a hold, and is over if not. An error is an answer of another kind, or errPatience.
func (c *clients) attempt(ctx context.Context, r *row, asks asker, h *hold, w *waiting, start, due time.Time) (verdict, *http.Response, error) {
	sent := time.Now()
	if asks != nil {
		v, err := asks.ask(ctx)
		c.tally.asked(time.Since(due), v, err)
		if noDecision(err) { // charged to nobody: ask the next, as behind a load balancer
			return verdict{}, nil, nil
		}
		if err != nil || !v.granted {
			return v, nil, err
		}
		if v.wait > 0 { // its place in the queue is kept
			w.set(!v.ofAccount)
			if time.Since(start)+v.wait > c.patience {
				v.leave()
				return v, nil, errPatience
			}
			if err := sleep(ctx, v.wait); err != nil {
				return v, nil, err
			}
			sent = time.Now()
		}
	}
	v, answer, err := c.callProvider(ctx, r)
	c.tally.reached(time.Since(sent))
	switch {
	case err != nil:
		return verdict{}, nil, err
	case !v.granted:
		c.cancel(ctx, h)
		return v, nil, nil
	case h == nil:
		_, err = finishCall(answer)
		return v, nil, err
	}
	return v, answer, nil
}

// post sends permitd a body as JSON, with an Idempotency-Key unless that is empty, and reads the answer. A body that is not JSON
// matters only where the status is 200 or 429.
func (c *clients) post(ctx context.Context, url, key string, body, into any) (status int, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.GetBody = nil // else the transport may send it again by itself, and nobody counts that
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	data, err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusTooManyRequests {
		if err := json.Unmarshal(data, into); err != nil {
			return 0, fmt.Errorf("%w: %w", errNonsense, err)
		}
	}
	return res.StatusCode, nil
}

var errNonsense = errors.New("the answer is not the JSON that was expected")

// noDecision reports whether an ask for a permit went unanswered, or was answered that there is no decision now, or a load
// balancer says that permitd did not answer.
func noDecision(err error) bool {
	var call *callError
	if !errors.As(err, &call) {
		return false
	}
	return unready(call.status) || call.status == 0 && !errors.Is(err, errNonsense)
}

// unready reports whether a status says that permitd can't answer now, or a load balancer that no permitd does.
func unready(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// callError is an answer that was neither yes nor no.
type callError struct {
	who    string // "permitd" or "provider"
	status int    // 0: no answer
	err    error
}

func (e *callError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%s: %v", e.who, e.err)
	}
	return fmt.Sprintf("%s answered %d %s", e.who, e.status, http.StatusText(e.status))
}

func (e *callError) Unwrap() error { return e.err }

// kind is what like errors are counted under.
func (e *callError) kind() string {
	switch {
	case errors.Is(e.err, errNonsense):
		return e.who + ": not what was expected"
	case e.err != nil:
		return e.who + ": no answer"
	}
	return fmt.Sprintf("%s: %d", e.who, e.status)
}

const (
	callTimeout = 30 * time.Second
	// maxConns bounds the connections to each address: calls beyond it queue, which the latency shows.
	maxConns = 256
)

// newHTTPClient is one whose calls take a moment.
func newHTTPClient() *http.Client {
	return &http.Client{Timeout: callTimeout, Transport: newTransport()}
}

// newUpstreamClient is one for a provider that begins to answer in a moment, but may take long to end; then calls under
// way are not bounded.
func newUpstreamClient(calls pace) *http.Client {
	t := newTransport()
	t.ResponseHeaderTimeout = callTimeout
	if calls != (pace{}) {
		t.MaxConnsPerHost = 0
	}
	return &http.Client{Transport: t}
}

func newTransport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: maxConns,
		MaxConnsPerHost:     maxConns,
		DisableCompression:  true,
	}
}
