package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestMockStreams(t *testing.T) {
	m := serveMock(t, mockConfig{limits: roomy, pace: pace{100 * time.Millisecond, 2 * time.Millisecond, 2}})
	for _, tt := range []struct {
		tokens  int
		usage   bool
		content int // chunks
		takes   time.Duration
	}{
		{200, true, 20, 150 * time.Millisecond}, // 100 of them are generated
		{200, false, 20, 150 * time.Millisecond},
		{6, true, 3, 53 * time.Millisecond},
		{0, true, 0, 50 * time.Millisecond},
	} {
		call := strings.TrimSuffix(tokens(tt.tokens), "}") + `,"stream":true`
		if tt.usage {
			call += `,"stream_options":{"include_usage":true}`
		}
		began := time.Now()
		res, body := m.post("k", call+"}")
		if took := time.Since(began); took < tt.takes {
			t.Errorf("%d tokens took %s, less than %s", tt.tokens, took, tt.takes)
		}
		if res.Header.Get("Content-Type") != "text/event-stream" || !strings.HasSuffix(body, "data: [DONE]\n\n") {
			t.Fatalf("%v\n%s", res.Header, body)
		}
		var content, usages int
		var text, finish string
		events := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
		for i, e := range events[:len(events)-1] {
			var c chatAnswer
			if err := json.Unmarshal([]byte(strings.TrimPrefix(e, "data: ")), &c); err != nil || c.Object != "chat.completion.chunk" || c.ID == "" || !strings.Contains(e, `"choices":[`) {
				t.Fatalf("%s: %v", e, err)
			}
			if c.Usage != nil {
				usages++
				if len(c.Choices) != 0 || i != len(events)-2 || c.Usage.Total != int64(tt.tokens) || c.Usage.Completion != int64(tt.tokens/2) {
					t.Errorf("%d: %s", i, e)
				}
				continue
			}
			d := c.Choices[0].Delta
			switch {
			case i == 0:
				if d.Role != "assistant" {
					t.Errorf("first comes %s", e)
				}
			case d.Content != nil:
				content++
				text += *d.Content
			default:
				finish = *c.Choices[0].FinishReason
			}
		}
		if content != tt.content || len(text) != 4*(tt.tokens/2) || finish != "stop" || (usages == 1) != tt.usage {
			t.Errorf("%d tokens: %d chunks of %q, finish %q, %d usages", tt.tokens, content, text, finish, usages)
		}
	}
}

// TestMockTellsOfAdmissionAtOnce calls a provider that would take an hour: the headers are there before the answer, and who
// hangs up ends the call.
func TestMockTellsOfAdmissionAtOnce(t *testing.T) {
	m := serveMock(t, mockConfig{limits: roomy, pace: pace{time.Hour, 0, 1}})
	for _, stream := range []bool{false, true} {
		c := &clients{upstream: newUpstreamClient(pace{time.Hour, 0, 1}), providers: map[string]*upstream{"": {url: m.url}}, reserving: &reserving{stream: stream}}
		v, answer, err := c.callProvider(t.Context(), &row{Context: 10, Generated: 10, Key: "k"})
		if err != nil || !v.granted {
			t.Fatalf("%+v, %v", v, err)
		}
		if got := answer.Header.Get("X-Ratelimit-Remaining-Tokens"); got != "999980" && got != "999960" {
			t.Errorf("%v", answer.Header)
		}
		answer.Body.Close()
		c.upstream.CloseIdleConnections()
	}
}
