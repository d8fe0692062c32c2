package api

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// The goal is that a permit over HTTP, decided by the embedded store under two limits, costs at most 1/0.85 of what a
// bare Echo handler needs to decode and encode the same JSON. Compare in one run:
//
//	go test -run '^$' -bench 'Handler|Socket' -count 6 ./api
const (
	benchPolicy = `{"limits":{
		"key-rpm": {"scope":"key","kind":"rate","amount":1000000,"per":"1m","burst":1000000000000},
		"rpm": {"scope":"provider","kind":"rate","amount":1000000,"per":"1m","burst":1000000000000}}}`
	benchAsk = `{"provider":"openrouter","key":"sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","model":"deepseek/deepseek-r1:free","cost":{"input_tokens":1200,"output_tokens":300}}`
)

func BenchmarkPermitHandler(b *testing.B)   { benchmarkHandler(b, benchServer(b)) }
func BenchmarkBareEchoHandler(b *testing.B) { benchmarkHandler(b, bareEcho()) }
func BenchmarkPermitSocket(b *testing.B)    { benchmarkSocket(b, benchServer(b).http) }
func BenchmarkBareEchoSocket(b *testing.B)  { benchmarkSocket(b, &http.Server{Handler: bareEcho()}) }

// BenchmarkAuthorizedPermitHandler is BenchmarkPermitHandler with tokens: the difference is what these cost.
func BenchmarkAuthorizedPermitHandler(b *testing.B) {
	s := newTokenServer(b, Options{})
	run := handlerRun(b, s, "/v1/permits", []byte(benchAsk), "Authorization", "Bearer "+permitsToken)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

// BenchmarkPermitMetrics is what the metrics add to a permit.
func BenchmarkPermitMetrics(b *testing.B) {
	m := NewMetrics("test", limiter.New(memstore.New(memstore.Options{})))
	ask := &limiter.Ask{Provider: "openrouter"}
	d := &limiter.Decision{Allowed: true, Provider: "openrouter", Revision: 7, Limits: make([]limiter.LimitStatus, 2)}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			began := time.Now()
			m.inFlight.Inc()
			m.asked(ask, d, nil)
			m.answered(permitsPath, http.MethodPost, http.StatusOK, time.Since(began))
			m.inFlight.Dec()
		}
	})
}

func BenchmarkBatchHandler(b *testing.B) {
	s := benchServer(b)
	const size = 100
	body := []byte(`{"permits":[` + string(bytes.Repeat([]byte(benchAsk+","), size-1)) + benchAsk + `]}`)
	run := handlerRun(b, s, "/v1/permits/batch", body)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "permits/s")
}

func benchServer(b *testing.B) *Server {
	s, _ := newTestServer(b, map[string]string{"openrouter": benchPolicy})
	return s
}

// bareEcho does what it takes to answer the same JSON to the same JSON, and nothing else.
func bareEcho() http.Handler {
	type ask struct {
		Provider string           `json:"provider"`
		Key      string           `json:"key"`
		Model    string           `json:"model"`
		Cost     map[string]int64 `json:"cost"`
		DryRun   bool             `json:"dry_run"`
	}
	type limit struct {
		Name       string `json:"name"`
		Scope      string `json:"scope"`
		Kind       string `json:"kind"`
		Unit       string `json:"unit"`
		Amount     int64  `json:"amount"`
		Cost       int64  `json:"cost"`
		Remaining  int64  `json:"remaining"`
		Reset      int64  `json:"reset_ms"`
		RetryAfter int64  `json:"retry_after_ms"`
		Mode       string `json:"mode"`
		WouldDeny  bool   `json:"would_deny"`
	}
	type decision struct {
		Allowed      bool     `json:"allowed"`
		Provider     string   `json:"provider"`
		KeyID        string   `json:"key_id"`
		Pool         *string  `json:"pool"`
		Revision     int64    `json:"revision"`
		Degraded     bool     `json:"degraded"`
		Limits       []limit  `json:"limits"`
		IgnoredUnits []string `json:"ignored_units"`
	}
	answer := decision{
		Allowed: true, KeyID: "k_0123456789abcdef0123456789abcdef", Revision: 1,
		Limits: []limit{
			{"key-rpm", "key", "rate", "requests", 1e6, 1, 999999912345, 5259, 0, "enforce", false},
			{"rpm", "provider", "rate", "requests", 1e6, 1, 999999912345, 5259, 0, "enforce", false},
		},
		IgnoredUnits: []string{"input_tokens", "output_tokens"},
	}
	e := echo.New()
	e.POST("/v1/permits", func(c echo.Context) error {
		var a ask
		if err := c.Bind(&a); err != nil {
			return err
		}
		d := answer
		d.Provider = a.Provider
		return c.JSON(http.StatusOK, &d)
	})
	return e
}

func benchmarkHandler(b *testing.B, h http.Handler) {
	run := handlerRun(b, h, "/v1/permits", []byte(benchAsk))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

// handlerRun is a function that has h answer one request in process, with headers of name and value.
func handlerRun(b *testing.B, h http.Handler, path string, body []byte, headers ...string) func() {
	text := bytes.NewReader(body)
	r := httptest.NewRequest(http.MethodPost, path, text)
	r.Host = "127.0.0.1:8080"
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := discard{header: http.Header{}}
	return func() {
		text.Reset(body)
		clear(w.header)
		if h.ServeHTTP(&w, r); w.status != http.StatusOK {
			b.Fatal("status", w.status)
		}
	}
}

// discard is a response that is thrown away.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// benchmarkSocket asks over as many kept-alive connections as there are workers.
func benchmarkSocket(b *testing.B, srv *http.Server) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	url := "http://" + l.Addr().String() + "/v1/permits"
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(url, "application/json", bytes.NewReader([]byte(benchAsk)))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Error("status", resp.StatusCode)
				return
			}
		}
	})
}
