package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/permitd/permitd/limiter"
)

// mockProvider is an LLM provider reduced to its limits and to how long its calls take. It speaks OpenAI's Chat
// Completions: the bearer token is the caller's key, which has an account. A call is charged, when it arrives, with the
// tokens of its prompt and those that it will generate, to the limit of the platform and to that of the account: to both,
// or to none.
type mockProvider struct {
	mockConfig
	most    int64        // tokens that a call may ever have
	started atomic.Int64 // answers, which are numbered by it

	mu       sync.Mutex
	platform providerLimit
	accounts map[string]providerLimit
	sweep    int // with more accounts than this, those that are as good as new are forgotten
}

// mockConfig is what a mock provider is made of.
type mockConfig struct {
	limits  mockLimits
	pace    pace
	account func(key string) string                              // nil: each key is an account of its own
	now     func() time.Duration                                 // a clock that never steps back
	arrived func(now time.Duration, tokens int64, admitted bool) // is told of each call, one after the other; may be nil
}

const (
	maxBody    = 16 << 20 // a prompt of some millions of tokens
	leastSweep = 10_000
)

func newMockProvider(c mockConfig) *mockProvider {
	if c.account == nil {
		c.account = limiter.KeyID
	}
	if c.arrived == nil {
		c.arrived = func(time.Duration, int64, bool) {}
	}
	return &mockProvider{mockConfig: c, most: c.limits.most(), platform: c.limits.platform(), accounts: map[string]providerLimit{}, sweep: leastSweep}
}

func (m *mockProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	account, call, fault := m.read(w, r)
	if fault != nil {
		fault.write(w)
		return
	}
	a := m.admit(account, call.usage.Total)
	a.describe(w.Header())
	if !a.admitted() {
		a.refusal(call.Model, call.usage.Total).write(w)
		return
	}
	answer := mockAnswer{call: call, pace: m.pace, began: began, id: "chatcmpl-mock-" + strconv.FormatInt(m.started.Add(1), 10)}
	if call.Stream {
		answer.stream(r.Context(), w)
	} else {
		answer.plain(r.Context(), w)
	}
}

// read takes in a call, and refuses one that can't be made.
func (m *mockProvider) read(w http.ResponseWriter, r *http.Request) (account string, call *chatRequest, fault *chatError) {
	if r.URL.Path != chatPath || r.Method != http.MethodPost {
		return "", nil, &chatError{status: http.StatusNotFound, Type: invalidRequest, Message: r.Method + " " + r.URL.Path + " is unknown here: the mock provider knows POST " + chatPath}
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return "", nil, &chatError{status: http.StatusUnauthorized, Type: invalidRequest, Message: `no API key came with the call: send any, as "Authorization: Bearer KEY"`}
	}
	if m.limits.account > 0 {
		account = m.account(key)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", nil, badRequest("", "the body can't be read: %v; in place of a long prompt, send its length as metadata.%s", err, metaPrompt)
	}
	if call, fault = parseChat(body); fault == nil && call.usage.Total > m.most {
		// OpenAI answers 429, upon which its clients send it again, in vain.
		fault = badRequest("", "the call has %d tokens and the provider never admits more than %d at once: shorten the prompt, lower max_completion_tokens, or raise the limits of the mock provider", call.usage.Total, m.most)
	}
	return account, call, fault
}

// admit charges a call to all limits, if all admit it.
func (m *mockProvider) admit(account string, tokens int64) *admission {
	type named struct {
		name string
		providerLimit
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	limits := []named{{limitPlatform, m.platform}}
	if m.limits.account > 0 {
		limits = append(limits, named{limitAccount, m.accountLimit(account, now)})
	}
	a := &admission{account: account}
	for _, l := range limits {
		if wait := l.wait(now, tokens); wait > 0 {
			a.by, a.wait = append(a.by, l.name), max(a.wait, wait)
		}
	}
	for i, l := range limits {
		if a.admitted() {
			l.charge(now, tokens)
		}
		if left, reset := l.room(now); i == 0 || left < a.remaining {
			a.limit, a.remaining, a.reset = l.most(), left, reset
		}
	}
	m.arrived(now, tokens, a.admitted())
	return a
}

// accountLimit is the limit of an account. The provider is locked.
func (m *mockProvider) accountLimit(account string, now time.Duration) providerLimit {
	if l := m.accounts[account]; l != nil {
		return l
	}
	if len(m.accounts) >= m.sweep {
		for name, l := range m.accounts {
			if _, reset := l.room(now); reset == 0 {
				delete(m.accounts, name)
			}
		}
		m.sweep = max(leastSweep, 2*len(m.accounts))
	}
	l := m.limits.ofAccount()
	m.accounts[account] = l
	return l
}
