package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

type permitAsk struct {
	Provider string           `json:"provider"`
	Key      string           `json:"key"`
	Model    string           `json:"model,omitempty"`
	Cost     map[string]int64 `json:"cost"`
	Hold     bool             `json:"hold,omitempty"`
	TTLMS    int64            `json:"ttl_ms,omitempty"`
}

type permitAnswer struct {
	RetryAfterMS int64    `json:"retry_after_ms"`
	Degraded     bool     `json:"degraded"`
	PermitID     string   `json:"permit_id"`
	IgnoredUnits []string `json:"ignored_units"`
	Violated     []string `json:"violated-policies"`
	Limits       []struct {
		Name  string `json:"name"`
		Scope string `json:"scope"`
	} `json:"limits"`
}

// permitAsker asks permitd for one request.
type permitAsker struct {
	*clients
	row  *row
	hold *hold
}

func (a *permitAsker) ask(ctx context.Context) (verdict, error) {
	h := a.hold
	ask := permitAsk{Provider: a.row.Provider, Key: a.row.Key, Model: a.row.Model, Cost: a.cost(a.reserving.estimate(a.row))}
	var answer permitAnswer
	status, err := a.post(ctx, a.nextPermitd()+"/v1/permits", h.reserve(&ask), ask, &answer)
	a.tally.ignored(answer.IgnoredUnits)
	switch {
	case err != nil:
		return verdict{}, &callError{"permitd", 0, err}
	case status == http.StatusOK && h != nil && answer.PermitID == "":
		return verdict{}, &callError{"permitd", 0, fmt.Errorf("%w: no permit_id", errNonsense)}
	case status == http.StatusOK:
		h.decided(answer.PermitID)
		if h != nil {
			a.tally.reserved(ask.Cost)
		}
		return verdict{granted: true, degraded: answer.Degraded}, nil
	case status == http.StatusTooManyRequests:
		h.decided("")
		return answer.denial(), nil
	}
	return verdict{}, &callError{"permitd", status, nil}
}

// denial is what a 429 says.
func (a *permitAnswer) denial() verdict {
	v := verdict{degraded: a.Degraded, wait: time.Duration(a.RetryAfterMS) * time.Millisecond, by: a.Violated, ofAccount: len(a.Violated) > 0}
	scopes := map[string]string{}
	for _, l := range a.Limits {
		scopes[l.Name] = l.Scope
	}
	for _, name := range a.Violated {
		v.ofAccount = v.ofAccount && (scopes[name] == "key" || scopes[name] == "pool")
	}
	return v
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
