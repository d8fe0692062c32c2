package main

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The limits of a mock provider, as it names those that refuse a call.
const (
	limitPlatform = "platform"
	limitAccount  = "account"
)

// admission is what a mock provider decided of a call. Its figures are of the limit that has the least room.
type admission struct {
	account   string
	by        []string      // the limits that refuse the call
	wait      time.Duration // until all of them admit it, if nothing else comes
	limit     int64         // tokens that fit when the limit is untouched
	remaining int64         // tokens that fit now
	reset     time.Duration // until the limit is untouched
}

func (a *admission) admitted() bool { return len(a.by) == 0 }

// Headers of a refusal.
const (
	retryAfterMS = "Retry-After-Ms" // whole milliseconds, which OpenAI's clients prefer to Retry-After
	refusedBy    = "X-Mock-Refused-By"
)

// describe sets the headers of any answer.
func (a *admission) describe(h http.Header) {
	h.Set("X-Ratelimit-Limit-Tokens", strconv.FormatInt(a.limit, 10))
	h.Set("X-Ratelimit-Remaining-Tokens", strconv.FormatInt(a.remaining, 10))
	h.Set("X-Ratelimit-Reset-Tokens", inMilliseconds(a.reset).String())
	if !a.admitted() {
		h.Set(refusedBy, strings.Join(a.by, ","))
		ms := inMilliseconds(a.wait).Milliseconds()
		h.Set("Retry-After", strconv.FormatInt((ms+999)/1000, 10))
		h.Set(retryAfterMS, strconv.FormatInt(ms, 10))
	}
}

// inMilliseconds rounds up to whole ones. It is at most 146 years.
func inMilliseconds(d time.Duration) time.Duration {
	return (min(d, math.MaxInt64/2) + time.Millisecond - 1).Truncate(time.Millisecond)
}

// refusal is the body of a 429.
func (a *admission) refusal(model string, tokens int64) *chatError {
	whose := "the whole platform"
	if slices.Contains(a.by, limitAccount) {
		whose = "account " + a.account
		if len(a.by) > 1 {
			whose += " and the whole platform"
		}
	}
	code := "rate_limit_exceeded"
	return &chatError{status: http.StatusTooManyRequests, Type: "tokens", Code: &code,
		Message: fmt.Sprintf("Rate limit reached for %s in %s on tokens: Limit %d, Used %d, Requested %d. Please try again in %s.",
			model, whose, a.limit, a.limit-a.remaining, tokens, inMilliseconds(a.wait))}
}

// write answers with the error.
func (e *chatError) write(w http.ResponseWriter) {
	body := mustJSON(struct {
		Error *chatError `json:"error"`
	}{e})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	w.Write(body) // a client that is gone needs none
}
