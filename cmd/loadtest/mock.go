package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// mockProvider is an LLM provider reduced to its limit: POST {"tokens": n} is 200, or 429 with the time to wait when the
// limit does not admit that much. A call that it could never admit is 400.
type mockProvider struct {
	now   func() time.Duration
	meter *meter
	flow  *flow

	mu       sync.Mutex
	limit    providerLimit
	rejected int64
}

type mockCall struct {
	Tokens int64 `json:"tokens"`
}

// refusal is the body of a 429, of the mock and (among other things) of permitd.
type refusal struct {
	RetryAfterMS int64 `json:"retry_after_ms"`
}

func (m *mockProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call mockCall
	body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err == nil {
		err = json.Unmarshal(body, &call)
	}
	if err != nil || call.Tokens < 0 || call.Tokens > m.limit.most() {
		http.Error(w, "tokens must be a number that the limit can admit", http.StatusBadRequest)
		return
	}
	ok, wait := m.take(call.Tokens)
	w.Header().Set("Content-Type", "application/json")
	if ok {
		io.WriteString(w, "{}\n")
		return
	}
	w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	w.WriteHeader(http.StatusTooManyRequests)
	ms := int64((wait + time.Millisecond - 1) / time.Millisecond)
	io.WriteString(w, `{"retry_after_ms":`+strconv.FormatInt(ms, 10)+"}\n")
}

func (m *mockProvider) take(tokens int64) (bool, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	ok, wait := m.limit.take(now, tokens)
	m.flow.arrive(now, tokens, ok)
	if ok {
		m.meter.admit(tokens)
	} else {
		m.rejected++
	}
	return ok, wait
}
