package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// BenchmarkMockRefuses is the mock provider alone, without a connection: its part of a call that it refuses.
func BenchmarkMockRefuses(b *testing.B) {
	m := newMockProvider(mockConfig{limits: mockLimits{mockBucket, 1000, 1000, time.Hour, 500}, now: func() time.Duration { return 0 }})
	call := func() int {
		r := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(
			`{"model":"mock","messages":[{"role":"user","content":"loadtest"}],"metadata":{"completion_tokens":"60","prompt_tokens":"400"}}`))
		r.Header.Set("Authorization", "Bearer loadtest-key-0001")
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		return w.Code
	}
	call()
	b.ReportAllocs()
	for b.Loop() {
		if code := call(); code != http.StatusTooManyRequests {
			b.Fatalf("answered %d", code)
		}
	}
}
