package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

func TestReadiness(t *testing.T) {
	s := New(limiter.New(memstore.New(memstore.Options{})), Options{LoopbackOnly: true})
	r := serve(t, s)
	check := func(status int, text string) {
		t.Helper()
		if got := r.get("/readyz"); got.status != status || got.text != text || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s %s", got.status, got.header.Get("Content-Type"), got.text)
		}
		if got := r.get("/healthz"); got.status != 200 || got.text != `{"status":"ok"}` {
			t.Errorf("healthz %d %s", got.status, got.text)
		}
	}
	check(503, `{"status":"starting"}`)
	s.MarkReady()
	check(200, `{"status":"ready"}`)
	s.MarkStopping()
	check(503, `{"status":"stopping"}`)
	s.MarkReady()
	check(503, `{"status":"stopping"}`)
}

func TestGuard(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	r.permit(ask, "Host: evil.example").problem(t, 403, "forbidden")
	r.permit(ask, "Host: evil.example:8080").problem(t, 403, "forbidden")
	r.permit(ask, "Origin: http://127.0.0.1:8080").problem(t, 403, "forbidden") // another port
	r.permit(ask, "Origin: "+strings.Replace(r.url, "http", "https", 1)).problem(t, 403, "forbidden")
	r.permit(ask, "Origin: "+strings.ToUpper(r.url)).problem(t, 403, "forbidden")
	r.permit(ask, "Origin: http://localhost", "Host: localhost.").problem(t, 403, "forbidden")
	for _, site := range []string{"cross-site", "same-site", "Same-Origin", "something"} {
		r.permit(ask, "Sec-Fetch-Site: "+site).problem(t, 403, "forbidden")
		r.permit(ask, "Sec-Fetch-Site: "+site, "Origin: "+r.url).problem(t, 403, "forbidden")
		r.get("/docs", "Sec-Fetch-Site: "+site, "Sec-Fetch-Mode: navigate").problem(t, 403, "forbidden")
		r.get("/v1/providers", "Sec-Fetch-Site: "+site, "Sec-Fetch-Mode: no-cors").problem(t, 403, "forbidden")
	}
	r.permit(ask, "Origin: null").problem(t, 403, "forbidden")
	r.get("/v1/providers", "Host: evil.example").problem(t, 403, "forbidden")
	r.get("/v1/nothing", "Host: evil.example").problem(t, 403, "forbidden")
	r.do("DELETE", "/v1/providers", "", "Host: evil.example").problem(t, 403, "forbidden")
	r.do("OPTIONS", "/v1/permits", "", "Origin: http://evil.example").problem(t, 403, "forbidden")
	if store.Len() != 0 {
		t.Errorf("%d counters", store.Len())
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := r.get(path, "Host: 10.1.2.3:8080", "Origin: http://x", "Sec-Fetch-Site: cross-site"); got.status != 200 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := r.permit(ask, "Host: LocalHost:80"); got.status != 200 {
		t.Errorf("localhost: %d %s", got.status, got.text)
	}
	for i, own := range [][]string{
		{"Origin: " + r.url}, {"Sec-Fetch-Site: same-origin", "Origin: " + r.url}, {"Sec-Fetch-Site: same-origin"}, {"Sec-Fetch-Site: none"},
		{"Host: localhost", "Origin: http://localhost"}, {"Host: [::1]:80", "Origin: http://[::1]:80"},
	} {
		if got := r.permit(strings.Replace(ask, "sk-1", fmt.Sprint("own-", i), 1), append(own, "X: x")...); got.status == 403 {
			t.Errorf("%v: %d %s", own, got.status, got.text)
		}
	}
	open := New(s.coordinator, Options{})
	if got := serve(t, open).permit(`{"provider":"openrouter","key":"other"}`, "Host: permitd.internal", "Origin: http://x", "Sec-Fetch-Site: cross-site"); got.status != 200 {
		t.Errorf("without the guard: %d", got.status)
	}
}

// TestGuardSeesEveryLine: of a header that is there twice none may be another's.
func TestGuardSeesEveryLine(t *testing.T) {
	for _, h := range []http.Header{
		{"Origin": {"http://localhost", "http://evil.example"}}, {"Origin": {""}}, {"Sec-Fetch-Site": {"none", "cross-site"}}, {"Sec-Fetch-Site": {""}},
	} {
		if err := guard(&http.Request{Host: "localhost", URL: &url.URL{Path: "/v1/providers"}, Header: h}); err != errOtherSite {
			t.Errorf("%v: %v", h, err)
		}
	}
	r := &http.Request{Host: "localhost", URL: &url.URL{Path: "/"}, Header: http.Header{"Origin": {"https://localhost"}}, TLS: new(tls.ConnectionState)}
	if err := guard(r); err != nil {
		t.Errorf("over TLS: %v", err)
	}
}

// TestOptionsOfTheServer: OPTIONS * is asked for a token and has the headers of all answers.
func TestOptionsOfTheServer(t *testing.T) {
	r := serve(t, newTokenServer(t, Options{}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	text, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 401 ") || !strings.Contains(string(text), "X-Content-Type-Options: nosniff\r\n") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestLoopbackHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LOCALHOST": true, "127.0.0.1": true, "127.0.0.1:8080": true, "127.9.9.9:1": true,
		"[::1]": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:80": true,
		"": false, ":8080": false, "localhost.evil.example": false, "evil.localhost.example:80": false, "127.0.0.1.nip.io": false,
		"128.0.0.1": false, "0.0.0.0:8080": false, "10.0.0.1": false, "::1": false, "::1:8080": false, "[::1": false, "[::2]:80": false, "[localhost]": false,
		"127.1": false, "2130706433": false,
	} {
		if got := loopbackHost(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// TestLogTellsNoSecrets: the access log says what was asked for and how it ended, and nothing of keys.
func TestLogTellsNoSecrets(t *testing.T) {
	var log bytes.Buffer
	c := limiter.New(brokenStore{Store: memstore.New(memstore.Options{}), panic: "lost"})
	seed(t, c, limiter.ProviderDocs{Provider: "p", Policy: parsePolicy(t, `{"limits":{}}`)})
	s := New(c, Options{Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for _, body := range []string{`{"provider":"p","key":"sk-secret"}`, `{"provider":"p","key":"sk-secret","x":1}`} {
		r, _ := http.NewRequest("POST", "/v1/permits?key=sk-secret", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer sk-secret")
		s.ServeHTTP(&discard{header: http.Header{}}, r)
	}
	text := log.String()
	for _, want := range []string{`"route":"/v1/permits"`, `"status":500`, `"status":400`, `"method":"POST"`, `"took":`, `"panic":"lost"`, `"stack":"goroutine`} {
		if !strings.Contains(text, want) {
			t.Errorf("log lacks %s", want)
		}
	}
	if strings.Contains(text, "secret") {
		t.Errorf("log tells a secret: %s", text)
	}
}

// blockingStore decides once it is let go.
type blockingStore struct {
	limiter.Store
	entered chan struct{}
	release chan struct{}
}

func (b blockingStore) Decide(ctx context.Context, charges []*limiter.Charge) {
	b.entered <- struct{}{}
	<-b.release
	b.Store.Decide(ctx, charges)
}

func blocked(t *testing.T) (*Server, blockingStore) {
	store := blockingStore{memstore.New(memstore.Options{}), make(chan struct{}), make(chan struct{})}
	c := limiter.New(store)
	seed(t, c, limiter.ProviderDocs{Provider: "openrouter", Policy: parsePolicy(t, tiers)})
	return New(c, Options{}), store
}

// TestShutdownFinishesWhatIsInFlight: a request that was accepted is answered.
func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	s, store := blocked(t)
	r := serve(t, s)
	answered := make(chan answer, 1)
	go func() { answered <- r.permit(ask) }()
	<-store.entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	store.release <- struct{}{}
	if got := <-answered; got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestShutdownEnds: what does not finish in time is cut off.
func TestShutdownEnds(t *testing.T) {
	s, store := blocked(t)
	r := serve(t, s)
	failed := make(chan error, 1)
	go func() {
		resp, err := r.client.Post(r.url+"/v1/permits", "application/json", strings.NewReader(ask))
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-store.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err != context.Canceled {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
	store.release <- struct{}{}
}

func TestTimeoutsAreSet(t *testing.T) {
	s, _ := newTestServer(t, nil)
	h := s.http
	if h.ReadHeaderTimeout <= 0 || h.ReadTimeout <= 0 || h.WriteTimeout <= 0 || h.IdleTimeout <= 0 || h.MaxHeaderBytes <= 0 {
		t.Errorf("%+v", h)
	}
	got := serve(t, s).get("/healthz", "X-Long: "+strings.Repeat("x", 64<<10))
	if got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d for long headers", got.status)
	}
}
