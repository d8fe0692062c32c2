package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// lossesOf asks an echo behind a lossy proxy so often, and returns which answers came (+) and which were lost (-).
func lossesOf(t *testing.T, seed uint64, asks int) string {
	t.Helper()
	var served, lost atomic.Int64
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, r.Host, r.URL.Path, r.Header.Get("Idempotency-Key"))
		io.Copy(w, r.Body)
	}))
	defer echo.Close()
	at, stop, err := serveLossy(newLossyProxy(0.3, seed, func() { lost.Add(1) }), []string{echo.URL + "/base"})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c := &clients{http: newHTTPClient()}
	defer c.http.CloseIdleConnections()
	var came strings.Builder
	for range asks {
		status, err := c.post(t.Context(), at[0]+"/v1", "key", 7, nil)
		switch {
		case err != nil:
			came.WriteByte('-')
		case status == http.StatusTeapot:
			came.WriteByte('+')
		default:
			t.Fatalf("answered %d", status)
		}
	}
	if n := strings.Count(came.String(), "-"); int64(n) != lost.Load() || served.Load() != int64(asks) {
		t.Errorf("%d of %d answers did not come; the proxy lost %d of %d", n, asks, lost.Load(), served.Load())
	}
	return came.String()
}

func TestLossyProxy(t *testing.T) {
	defer goleak.VerifyNone(t)
	first := lossesOf(t, 1, 200)
	if n := strings.Count(first, "-"); n < 35 || n > 85 {
		t.Errorf("%d of 200 answers are lost, want about 60", n)
	}
	if lossesOf(t, 1, 200) != first || lossesOf(t, 2, 200) == first {
		t.Error("what is lost does not hang on the seed")
	}
}

// TestLossyProxyChangesNothing sees that a request and an answer pass as they are.
func TestLossyProxyChangesNothing(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, r.Host, " ", r.URL.Path, " ", r.Header.Get("Idempotency-Key"), " ")
		io.Copy(w, r.Body)
	}))
	defer echo.Close()
	at, stop, err := serveLossy(newLossyProxy(0, 1, nil), []string{echo.URL + "/base"})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at[0]+"/v1/permits", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "key")
	res, err := echo.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	want := strings.TrimPrefix(echo.URL, "http://") + " /base/v1/permits key body"
	if err != nil || string(text) != want || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "7" {
		t.Errorf("%d %q, want 503 %q; %v", res.StatusCode, text, want, err)
	}
}
