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
	http     *http.Client
	permitd  []string // base URLs, asked in turn; none: the provider is called at will
	token    string   // for permitd
	mock     string   // URL
	provider string
	costs    []costRule
	patience time.Duration
	seed     uint64

	reserving *reserving // nil: permits are charged what the request costs, and not held
	runID     string     // no other run has the same

	turn  atomic.Uint64
	meter *meter
	tally *tally
}

// serve takes one request, meant to start at start, to its end: admitted by the provider, given up, or failed; and with
// --reserve, its call over and settled. The n-th request of a seed always draws the same jitter.
func (c *clients) serve(ctx context.Context, n int, r *row, start time.Time) {
	h := c.newHold(n)
	if c.admit(ctx, r, h, start, rand.New(rand.NewPCG(c.seed, uint64(n)))) {
		c.call(ctx, r, h)
	}
}

// admit tries until the provider admits the call, and reports whether it did.
func (c *clients) admit(ctx context.Context, r *row, h *hold, start time.Time, random *rand.Rand) bool {
	waits := false
	defer func() {
		if waits {
			c.meter.end()
		}
	}()
	due := start
	for refusals := 0; ; refusals++ {
		wait, err := c.attempt(ctx, r, h, due)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			c.tally.fail(err)
			return false
		case wait < 0:
			c.tally.finish(time.Since(start))
			return true
		}
		if !waits {
			waits = true
			c.meter.begin(tokensOf(r))
		}
		wait = backoff(refusals, wait, random)
		due = time.Now().Add(wait)
		if due.Sub(start) > c.patience {
			c.tally.giveUp()
			return false
		}
		if sleep(ctx, wait) != nil {
			return false
		}
	}
}

// admitted is what attempt returns when the provider took the call.
const admitted = time.Duration(-1)

// attempt asks permitd, which was meant to happen at due, and calls the provider if it may. When either refuses, it
// returns the time to wait; and an error when one of them gives another answer.
func (c *clients) attempt(ctx context.Context, r *row, h *hold, due time.Time) (time.Duration, error) {
	sent := time.Now()
	if len(c.permitd) > 0 {
		wait, err := c.ask(ctx, r, h)
		c.tally.asked(time.Since(due), wait, err)
		if noDecision(err) { // charged to nobody: ask the next, as behind a load balancer
			return 0, nil
		}
		if err != nil || wait != admitted {
			return wait, err
		}
	}
	var refused refusal
	status, err := c.post(ctx, c.mock, "", mockCall{tokensOf(r)}, &refused)
	c.tally.reached(time.Since(sent))
	switch {
	case err != nil:
		return 0, &callError{"provider", 0, err}
	case status == http.StatusOK:
		return admitted, nil
	case status == http.StatusTooManyRequests:
		c.tally.upstreamRefused()
		c.cancel(ctx, h)
		return time.Duration(refused.RetryAfterMS) * time.Millisecond, nil
	}
	return 0, &callError{"provider", status, nil}
}

type permitAsk struct {
	Provider string           `json:"provider"`
	Key      string           `json:"key"`
	Model    string           `json:"model,omitempty"`
	Cost     map[string]int64 `json:"cost"`
	Hold     bool             `json:"hold,omitempty"`
	TTLMS    int64            `json:"ttl_ms,omitempty"`
}

type permitAnswer struct {
	refusal
	PermitID     string   `json:"permit_id"`
	IgnoredUnits []string `json:"ignored_units"`
}

// ask asks permitd for a permit: admitted, or the time to wait.
func (c *clients) ask(ctx context.Context, r *row, h *hold) (time.Duration, error) {
	ask := permitAsk{Provider: c.provider, Key: r.Key, Model: r.Model, Cost: c.cost(c.reserving.estimate(r))}
	var answer permitAnswer
	status, err := c.post(ctx, c.nextPermitd()+"/v1/permits", h.reserve(&ask), ask, &answer)
	c.tally.ignored(answer.IgnoredUnits)
	switch {
	case err != nil:
		return 0, &callError{"permitd", 0, err}
	case status == http.StatusOK && h != nil && answer.PermitID == "":
		return 0, &callError{"permitd", 0, fmt.Errorf("%w: no permit_id", errNonsense)}
	case status == http.StatusOK:
		h.decided(answer.PermitID)
		if h != nil {
			c.tally.reserved(ask.Cost)
		}
		return admitted, nil
	case status == http.StatusTooManyRequests:
		h.decided("")
		return time.Duration(answer.RetryAfterMS) * time.Millisecond, nil
	}
	return 0, &callError{"permitd", status, nil}
}

// cost is what permitd is told of a request, by units.
func (c *clients) cost(r *row) map[string]int64 {
	cost := make(map[string]int64, len(c.costs))
	for _, rule := range c.costs {
		cost[rule.unit] = rule.of(r)
	}
	return cost
}

// nextPermitd is the base URL whose turn it is.
func (c *clients) nextPermitd() string { return c.permitd[c.turn.Add(1)%uint64(len(c.permitd))] }

// post sends a body as JSON, with an Idempotency-Key unless that is empty, and reads the answer. A body that is not JSON
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
	if c.token != "" && url != c.mock {
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
	switch call.status {
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return call.status == 0 && !errors.Is(err, errNonsense)
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

func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: callTimeout,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: maxConns,
			MaxConnsPerHost:     maxConns,
			DisableCompression:  true,
		},
	}
}
