package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// hold is what a client that reserves knows of its permit.
type hold struct {
	*reserving
	client string     // what its idempotency keys begin with
	random *rand.Rand // of its own, so that the jitter of asks is the same with and without holds
	dies   bool       // during its call

	asks     int
	key      string // of the ask that is under way; "": the next is another ask
	permitID string
}

// newHold is the hold of the n-th request; nil without --reserve. The same clients of a seed die in each run, but no run
// has the idempotency keys of another: they would be answered with its permits.
func (c *clients) newHold(n int) *hold {
	if c.reserving == nil {
		return nil
	}
	random := rand.New(rand.NewPCG(c.seed, uint64(n)|1<<63))
	return &hold{reserving: c.reserving, client: fmt.Sprintf("%s-%d", c.runID, n), random: random, dies: random.Float64() < c.reserving.die}
}

// reserve makes an ask one for a hold, and returns its idempotency key: that of the ask before, if that had no decision.
func (h *hold) reserve(ask *permitAsk) (key string) {
	if h == nil {
		return ""
	}
	ask.Hold, ask.TTLMS = true, h.ttl.Milliseconds()
	if h.key == "" {
		h.asks++
		h.key = fmt.Sprintf("%s-%d", h.client, h.asks)
	}
	return h.key
}

// decided takes in permitd's answer to an ask: the next ask is another one.
func (h *hold) decided(permitID string) {
	if h != nil {
		h.key, h.permitID = "", permitID
	}
}

// settle reads the answer to a call that the provider admitted to its end, and settles to what it says that the call took.
// A client that dies cuts the connection instead.
func (c *clients) settle(ctx context.Context, h *hold, answer *http.Response) {
	if h.dies {
		answer.Body.Close()
		c.tally.died()
		return
	}
	usage, err := finishCall(answer)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.tally.notClosed(err, false)
	case !h.noSettle:
		c.closeHold(ctx, h, "settle", settleAsk{c.cost(usage.row())})
	}
}

// cancel gives back the permit for a call that the provider refused.
func (c *clients) cancel(ctx context.Context, h *hold) {
	if h != nil && !h.noSettle {
		c.closeHold(ctx, h, "cancel", struct{}{})
	}
}

type settleAsk struct {
	Cost map[string]int64 `json:"cost"`
}

type settlement struct {
	Adjusted map[string]int64 `json:"adjusted"`
}

// closeHold settles or cancels, as verb says, again and again until permitd answers or patience is over.
func (c *clients) closeHold(ctx context.Context, h *hold, verb string, body any) {
	began := time.Now()
	for n := 0; ; n++ {
		var done settlement
		status, err := c.post(ctx, c.nextPermitd()+"/v1/permits/"+h.permitID+"/"+verb, "", body, &done)
		if ctx.Err() != nil {
			return
		}
		if err == nil && status == http.StatusOK {
			c.tally.closed(verb, done.Adjusted)
			return
		}
		wait := backoff(n, 0, h.random)
		err = &callError{"permitd", status, err}
		again := noDecision(err) && time.Since(began)+wait <= c.patience
		c.tally.notClosed(err, again)
		if !again || sleep(ctx, wait) != nil {
			return
		}
	}
}
