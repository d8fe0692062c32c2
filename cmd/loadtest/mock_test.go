package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// mockAt serves a mock provider whose clock stands at the time that is set.
type mockAt struct {
	*testing.T
	http *http.Client
	url  string

	mu      sync.Mutex
	now     time.Duration
	arrived []string // calls, as "+tokens" or "-tokens"
}

// serveMock serves one until the test ends, and then nothing of it may be left.
func serveMock(t *testing.T, c mockConfig) *mockAt {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	m := &mockAt{T: t, http: newUpstreamClient(c.pace)}
	t.Cleanup(m.http.CloseIdleConnections)
	c.now = func() time.Duration {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.now
	}
	c.arrived = func(now time.Duration, tokens int64, admitted bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.arrived = append(m.arrived, fmt.Sprintf("%s%d", map[bool]string{true: "+", false: "-"}[admitted], tokens))
	}
	url, stop, err := serveLocal(newMockProvider(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	m.url = url
	return m
}

func (m *mockAt) calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.arrived
}

// post calls as a key, "" for none, and returns the answer with its body read.
func (m *mockAt) post(key, body string) (*http.Response, string) {
	m.Helper()
	req, err := http.NewRequestWithContext(m.Context(), http.MethodPost, m.url+chatPath, strings.NewReader(body))
	if err != nil {
		m.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := m.http.Do(req)
	if err != nil {
		m.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		m.Fatal(err)
	}
	return res, string(text)
}

// tokens is a call of so many, half of them in its prompt.
func tokens(n int) string {
	return fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":""}],"metadata":{"prompt_tokens":"%d","completion_tokens":"%d"}}`, n/2, n-n/2)
}

var roomy = mockLimits{mockBucket, 1e6, 1e6, time.Minute, 0}

func TestMockCounts(t *testing.T) {
	m := serveMock(t, mockConfig{limits: roomy})
	const hello = `"messages":[{"role":"system","content":"Bé ño"},{"role":"user","content":[{"type":"text","text":"sixsix"},{"type":"image_url","image_url":{"url":"x"}}]},{"role":"assistant","content":null}]`
	for _, tt := range []struct {
		body, usage, finish string
	}{
		{hello, "3+16", "stop"}, // 11 characters
		{hello + `,"max_completion_tokens":7,"temperature":0.5`, "3+7", "length"},
		{hello + `,"max_tokens":8`, "3+8", "length"},
		{hello + `,"metadata":{"prompt_tokens":"1000"}`, "1000+16", "stop"},
		{hello + `,"metadata":{"completion_tokens":"0"}`, "3+0", "stop"},
		{hello + `,"metadata":{"prompt_tokens":"10","cached_tokens":"4","completion_tokens":"500000"}`, "10(4)+500000", "stop"},
		{hello + `,"max_completion_tokens":50,"metadata":{"completion_tokens":"60"}`, "3+50", "length"},
		{hello + `,"max_completion_tokens":50,"metadata":{"completion_tokens":"40"}`, "3+40", "stop"},
	} {
		res, body := m.post("sk", `{"model":"gpt-4o-mini",`+tt.body+"}")
		var a chatAnswer
		if err := json.Unmarshal([]byte(body), &a); err != nil || res.StatusCode != http.StatusOK || len(a.Choices) != 1 || a.Usage == nil {
			t.Fatalf("%s: %d %s, %v", tt.body, res.StatusCode, body, err)
		}
		usage := fmt.Sprintf("%d+%d", a.Usage.Prompt, a.Usage.Completion)
		if n := a.Usage.Details.Cached; n > 0 {
			usage = fmt.Sprintf("%d(%d)+%d", a.Usage.Prompt, n, a.Usage.Completion)
		}
		if usage != tt.usage || a.Usage.Total != a.Usage.Prompt+a.Usage.Completion || *a.Choices[0].FinishReason != tt.finish {
			t.Errorf("%s: %s", tt.body, body)
		}
		if said := m.calls()[len(m.calls())-1]; said != fmt.Sprintf("+%d", a.Usage.Total) {
			t.Errorf("%s: %s is charged", tt.body, said)
		}
		text := a.Choices[0].Message
		if a.Object != "chat.completion" || a.Model != "gpt-4o-mini" || text.Role != "assistant" || int64(len(*text.Content)) != min(4*a.Usage.Completion, mostText) {
			t.Errorf("%s: %s", tt.body, body)
		}
	}
}

func TestMockRefusesWhatCannotBe(t *testing.T) {
	m := serveMock(t, mockConfig{limits: mockLimits{mockBucket, 1000, 1000, time.Minute, 500}})
	const hello = `"model":"m","messages":[{"role":"user","content":"hi"}]`
	for _, tt := range []struct {
		key, body string
		status    int
		param     string
		says      string
	}{
		{"", "{" + hello + "}", 401, "", "send any, as \\\"Authorization: Bearer KEY\\\""},
		{"k", "", 400, "", "the body must be JSON such as"},
		{"k", `{"messages":[{"role":"user","content":"hi"}]}`, 400, "model", "name any, such as"},
		{"k", `{"model":"m"}`, 400, "messages", "send at least one, such as"},
		{"k", `{"model":"m","messages":"hi"}`, 400, "messages", "messages can't be a JSON string"},
		{"k", "{" + hello + `,"metadata":{"prompt_tokens":5}}`, 400, "metadata", "values of metadata are strings"},
		{"k", "{" + hello + `,"metadata":{"prompt_tokens":"-5"}}`, 400, "metadata", "metadata.prompt_tokens must be a whole number from 0"},
		{"k", "{" + hello + `,"metadata":{"cached_tokens":"5"}}`, 400, "metadata", "and can't be more"},
		{"k", "{" + hello + `,"max_tokens":5,"max_completion_tokens":5}`, 400, "max_tokens", "send only one of them"},
		{"k", "{" + hello + `,"max_tokens":0}`, 400, "max_completion_tokens", "must be from 1"},
		{"k", "{" + hello + `,"n":2}`, 400, "n", "gives one choice"},
		{"k", "{" + hello + `,"stream_options":{"include_usage":true}}`, 400, "stream_options", "or leave them out"},
		{"k", tokens(501), 400, "", "never admits more than 500 at once: shorten the prompt"},
	} {
		res, body := m.post(tt.key, tt.body)
		var e struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		err := json.Unmarshal([]byte(body), &e)
		param := ""
		if e.Error.Param != nil {
			param = *e.Error.Param
		}
		if err != nil || res.StatusCode != tt.status || e.Error.Type != "invalid_request_error" || param != tt.param || !strings.Contains(body, tt.says) || !strings.Contains(body, `"code":null`) {
			t.Errorf("%s: %d %s", tt.body, res.StatusCode, body)
		}
	}
	if calls := m.calls(); len(calls) > 0 {
		t.Errorf("charged %v", calls)
	}
	res, err := m.http.Get(m.url + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 404 || !strings.Contains(string(body), "the mock provider knows POST /v1/chat/completions") {
		t.Errorf("another path: %d %s, %v", res.StatusCode, body, err)
	}
}

// TestMockChargesBothOrNone calls as two accounts of two keys each, within a platform of 1000 tokens and 600 of each account.
func TestMockChargesBothOrNone(t *testing.T) {
	m := serveMock(t, mockConfig{limits: mockLimits{mockBucket, 1000, 1000, time.Minute, 600}, account: func(key string) string { return "acct-" + key[:1] }})
	for i, step := range []struct {
		at      time.Duration
		key     string
		tokens  int
		by      string // "": admitted
		waitMS  string
		seconds string
		left    string // of the tighter limit
	}{
		{0, "a1", 500, "", "", "", "100 of 600, all in 50s"},
		{0, "a2", 200, limitAccount, "10000", "10", "100 of 600, all in 50s"}, // 100 tokens, at 600 a minute
		{0, "b1", 500, "", "", "", "0 of 1000, all in 1m0s"},                  // the platform was not charged for a2
		{0, "b2", 50, limitPlatform, "3000", "3", "0 of 1000, all in 1m0s"},
		{0, "b2", 200, "platform,account", "12000", "12", "0 of 1000, all in 1m0s"},
		{5001 * time.Millisecond, "b2", 84, limitPlatform, "39", "1", "83 of 1000, all in 54.999s"},
		{6 * time.Second, "b2", 100, "", "", "", "0 of 1000, all in 1m0s"}, // nor b for its refusals
		{12 * time.Second, "b1", 100, "", "", "", "0 of 1000, all in 1m0s"},
		{time.Hour, "b1", 0, "", "", "", "600 of 600, all in 0s"},
	} {
		m.mu.Lock()
		m.now = step.at
		m.mu.Unlock()
		res, body := m.post(step.key, tokens(step.tokens))
		h := res.Header
		left := fmt.Sprintf("%s of %s, all in %s", h.Get("x-ratelimit-remaining-tokens"), h.Get("x-ratelimit-limit-tokens"), h.Get("x-ratelimit-reset-tokens"))
		if (res.StatusCode == 429) != (step.by != "") || h.Get("x-mock-refused-by") != step.by || h.Get("retry-after-ms") != step.waitMS || h.Get("retry-after") != step.seconds || left != step.left {
			t.Errorf("step %d: %d, %v: %s", i, res.StatusCode, h, left)
		}
		if step.by == "" {
			continue
		}
		if !strings.HasPrefix(body, `{"error":{"message":"Rate limit reached for m in `) || !strings.HasSuffix(body, `","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`) ||
			strings.Contains(body, "account acct-") != strings.Contains(step.by, limitAccount) || strings.Contains(body, "platform") != strings.Contains(step.by, limitPlatform) {
			t.Errorf("step %d: %s", i, body)
		}
	}
	if got := strings.Join(m.calls(), " "); got != "+500 -200 +500 -50 -200 -84 +100 +100 +0" {
		t.Errorf("arrived %s", got)
	}
}

// TestMockForgetsAccounts fails if accounts that are as good as new were kept for ever, or others forgotten.
func TestMockForgetsAccounts(t *testing.T) {
	var now time.Duration
	m := newMockProvider(mockConfig{limits: mockLimits{mockBucket, 1e9, 1e9, time.Minute, 100}, now: func() time.Duration { return now }})
	for i := range leastSweep {
		m.admit(fmt.Sprint("old", i), 1)
	}
	now = time.Minute
	m.admit("used", 100)
	now += time.Second
	m.admit("new", 1)
	if n := len(m.accounts); n > 3 || m.admit("used", 100).admitted() {
		t.Errorf("%d accounts; one that was used: %v", n, m.accounts["used"])
	}
}
