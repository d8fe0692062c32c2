package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// scraped are the permitd_ series of /metrics, as "name{label=value,…}", with the count of a histogram as its value.
func (r *remote) scraped() map[string]float64 {
	r.t.Helper()
	got := r.get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(got.text))
	if err != nil || got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		r.t.Fatalf("%d %s: %v", got.status, got.header.Get("Content-Type"), err)
	}
	series := map[string]float64{}
	for name, f := range families {
		if !strings.HasPrefix(name, "permitd_") {
			continue
		}
		for _, m := range f.Metric {
			series[name+labelText(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return series
}

func labelText(m *dto.Metric) string {
	var labels []string
	for _, l := range m.Label {
		labels = append(labels, l.GetName()+"="+l.GetValue())
	}
	return "{" + strings.Join(labels, ",") + "}"
}

// TestMetrics: a script of asks yields these figures and no others.
func TestMetrics(t *testing.T) {
	r, clock := movingServer(t, `{"limits":{
		"key-rpm":  {"scope":"key","kind":"rate","amount":60,"per":"1m","burst":2},
		"tpm":      {"scope":"provider","kind":"rate","unit":"tokens","counts":{"input_tokens":1,"output_tokens":1},"amount":1500,"per":"1m"},
		"watch":    {"scope":"provider","kind":"rate","amount":1,"per":"1h","mode":"shadow"}}}`)
	r.permit(heldAsk) // refused by none; from now on watch would deny
	first := r.held(`{"provider":"openrouter","key":"sk-2","cost":{"input_tokens":100},"hold":true,"ttl_ms":1000}`)
	second := r.held(`{"provider":"openrouter","key":"sk-2","hold":true,"ttl_ms":1000}`)
	for range 3 {
		r.permit(`{"provider":"openrouter","key":"sk-2","cost":{"input_tokens":200}}`) // refused by both
	}
	r.permit(`{"provider":"openrouter","key":"sk-3","dry_run":true}`)
	r.permit(`{"provider":"openrouter","key":"sk-3","cost":{"input_tokens":5000}}`) // never fits
	r.permit(`{"provider":"no-such-provider","key":"sk-3"}`)
	r.permit(`{"provider":"openrouter"`)
	for range 3 {
		r.permit(`{"provider":"openrouter","key":"sk-4"}`, `Idempotency-Key: "once"`)
	}
	r.do(http.MethodPost, "/v1/permits/batch", `{"permits":[{"provider":"openrouter","key":"sk-5"},{"provider":"openrouter"},7]}`)
	for range 2 { // what is sent again is counted once
		r.on(first.ID, "settle", `{"cost":{"input_tokens":4000}}`)
	}
	clock.Add(2 * time.Second.Microseconds())
	r.on(second.ID, "cancel", "")
	r.on(second.ID, "settle", `{"cost":{}}`) // 409
	r.get("/v1/nothing/" + first.ID)
	r.do("BREW", "/v1/permits", "")

	got := r.scraped()
	want := map[string]float64{
		"permitd_http_connections{}":                                                1,
		"permitd_http_connections_displaced_total{}":                                0,
		"permitd_permits_total{outcome=granted,provider=openrouter}":                5,
		"permitd_permits_total{outcome=denied,provider=openrouter}":                 3,
		"permitd_permits_total{outcome=dry_run,provider=openrouter}":                1,
		"permitd_permits_total{outcome=replayed,provider=openrouter}":               2,
		"permitd_permits_total{outcome=cost-exceeds-limit,provider=openrouter}":     1,
		"permitd_permits_total{outcome=invalid-request,provider=openrouter}":        2,
		"permitd_permits_total{outcome=invalid-request,provider=_unknown}":          1,
		"permitd_permits_total{outcome=unknown-provider,provider=_unknown}":         1,
		"permitd_denials_total{limit=key-rpm,provider=openrouter}":                  3,
		"permitd_denials_total{limit=tpm,provider=openrouter}":                      3,
		"permitd_would_deny_total{limit=watch,provider=openrouter}":                 7,
		"permitd_unweighed_total{limit=key-rpm,provider=openrouter}":                0,
		"permitd_unweighed_total{limit=tpm,provider=openrouter}":                    3,
		"permitd_unweighed_total{limit=watch,provider=openrouter}":                  0,
		"permitd_unknown_models_total{provider=openrouter}":                         0,
		"permitd_unknown_units_total{provider=openrouter}":                          0,
		"permitd_holds_closed_total{late=false,provider=openrouter,state=settled}":  1,
		"permitd_holds_closed_total{late=true,provider=openrouter,state=cancelled}": 1,
		"permitd_uncharged_units_total{limit=tpm,provider=openrouter}":              1300 + 100 + 3900 - 2*1500,
		"permitd_policy_revision{provider=openrouter}":                              1,
		"permitd_degraded{}":                                                                      0,
		"permitd_documents_restored_total{}":                                                      0,
		"permitd_http_requests_in_flight{}":                                                       1,
		"permitd_http_requests_total{method=POST,route=/v1/permits,status=200}":                   7,
		"permitd_http_requests_total{method=POST,route=/v1/permits,status=400}":                   1,
		"permitd_http_requests_total{method=POST,route=/v1/permits,status=404}":                   1,
		"permitd_http_requests_total{method=POST,route=/v1/permits,status=422}":                   1,
		"permitd_http_requests_total{method=POST,route=/v1/permits,status=429}":                   3,
		"permitd_http_requests_total{method=POST,route=/v1/permits/batch,status=200}":             1,
		"permitd_http_requests_total{method=POST,route=/v1/permits/:permit_id/settle,status=200}": 2,
		"permitd_http_requests_total{method=POST,route=/v1/permits/:permit_id/settle,status=409}": 1,
		"permitd_http_requests_total{method=POST,route=/v1/permits/:permit_id/cancel,status=200}": 1,
		"permitd_http_requests_total{method=GET,route=,status=404}":                               1,
		"permitd_http_requests_total{method=other,route=/v1/permits,status=405}":                  1,
		"permitd_permit_duration_seconds{route=/v1/permits}":                                      14,
		"permitd_permit_duration_seconds{route=/v1/permits/batch}":                                1,
		"permitd_permit_duration_seconds{route=/v1/permits/:permit_id/settle}":                    3,
		"permitd_permit_duration_seconds{route=/v1/permits/:permit_id/cancel}":                    1,
		"permitd_permit_duration_seconds{route=/v1/permits/:permit_id/extend}":                    0,
	}
	for name := range got {
		switch {
		case strings.HasPrefix(name, "permitd_build_info{"):
			want[name] = 1
		case strings.HasPrefix(name, "permitd_memory_"): // TestMemoryFigures
			want[name] = got[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[name]; !ok || v != want[name] {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s %v is not wanted", name, got[name])
		}
	}
}

// TestMetricsTellNoSecrets: whatever clients send, no label has a key, a key id, a model, a permit id or an idempotency key,
// and the number of series does not grow with them.
func TestMetricsTellNoSecrets(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": `{"limits":{
		"rpm": {"scope":"key","kind":"rate","amount":1,"per":"1m","per_model":true},
		"watch": {"scope":"key","kind":"rate","amount":1,"per":"1m","per_model":true,"mode":"shadow"}}}`})
	r := serve(t, s)
	send := func(i int) {
		key := fmt.Sprintf("sk-secret-%d", i)
		ask := fmt.Sprintf(`{"provider":"openrouter","key":%q,"model":"secret-model-%d","hold":true}`, key, i)
		id := r.held(ask).ID
		r.permit(ask, fmt.Sprintf(`Idempotency-Key: "secret-%d"`, i), "Authorization: Bearer secret")
		r.on(id, "settle", `{"cost":{"requests":5}}`)
		r.permit(fmt.Sprintf(`{"provider":"secret-%d","key":%q}`, i, key))
		r.permit(fmt.Sprintf(`{"provider":"Secret-%d"}`, i))
		r.get("/v1/providers/openrouter/usage?key_id=" + limiter.KeyID(key))
		r.get(fmt.Sprintf("/v1/providers/secret-%d", i))
		r.get(fmt.Sprintf("/secret/%d", i))
		r.do(fmt.Sprintf("SECRET%d", i), "/v1/providers", "")
	}
	send(0)
	r.scraped() // which counts itself
	before := len(r.scraped())
	for i := range 20 {
		send(i + 1)
	}
	if after := len(r.scraped()); after != before {
		t.Errorf("%d series have become %d", before, after)
	}
	text := strings.ToLower(r.get("/metrics").text)
	for _, secret := range []string{"secret", "sk-", "k_", "p_openrouter", "bearer"} {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "permitd_") && strings.Contains(line, secret) {
				t.Errorf("%q is in %s", secret, line)
			}
		}
	}
}

// TestMetricsFollowConventions: names, units and help are as Prometheus wants them.
func TestMetricsFollowConventions(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	id := r.held(heldAsk).ID
	r.permit(ask)
	r.on(id, "settle", `{"cost":{"output_tokens":1000000}}`)
	if n := len(r.scraped()); n < 12 {
		t.Errorf("only %d series", n)
	}
	problems, err := testutil.GatherAndLint(s.metrics.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetricsOfOthers: what a store registers is shown, and servers do not share what they count.
func TestMetricsOfOthers(t *testing.T) {
	one, _ := newTestServer(t, nil)
	other, _ := newTestServer(t, nil)
	lanes := prometheus.NewGauge(prometheus.GaugeOpts{Name: "permitd_store_lanes", Help: "Lanes."})
	lanes.Set(2)
	one.metrics.registry.MustRegister(lanes)
	if v := serve(t, one).scraped()["permitd_store_lanes{}"]; v != 2 {
		t.Errorf("permitd_store_lanes is %v", v)
	}
	got := serve(t, other).scraped()
	if _, ok := got["permitd_store_lanes{}"]; ok {
		t.Error("a metric of one server is shown by another")
	}
}

// TestMetricsOfFailures: an ask that could not be decided counts under its reason.
func TestMetricsOfFailures(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": `{"unknown_keys":"deny","limits":{}}`})
	r := serve(t, s)
	r.permit(ask)
	got := r.scraped()
	if v := got["permitd_permits_total{outcome=unknown-key,provider=openrouter}"]; v != 1 {
		t.Errorf("%v", got)
	}
}

// TestClientsThatGoAwayAreNoOverload: an ask whose client did not wait is an outcome of its own, and no failure of permitd's,
// also in a batch, and when it left while it was sending.
func TestClientsThatGoAwayAreNoOverload(t *testing.T) {
	c := limiter.New(absentMinded{memstore.New(memstore.Options{})})
	seed(t, c, limiter.ProviderDocs{Provider: "openrouter", Policy: parsePolicy(t, tiers)})
	s := New(c, Options{})
	r := serve(t, s)
	for path, body := range map[string]string{"/v1/permits": ask, "/v1/permits/batch": `{"permits":[` + ask + `]}`} {
		ctx, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer leave()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if resp, err := r.client.Do(req); err == nil {
			resp.Body.Close()
			t.Error("answered", resp.StatusCode)
		}
	}
	half := connect(t, strings.TrimPrefix(r.url, "http://"))
	half.send("POST /v1/permits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	half.Close()
	var got map[string]float64
	eventually(t, func() bool {
		got = r.scraped()
		return got["permitd_permits_total{outcome=client_gone,provider=openrouter}"]+
			got["permitd_permits_total{outcome=client_gone,provider=_unknown}"] == 3 || t.Failed()
	})
	for name, n := range got {
		failed := strings.HasPrefix(name, "permitd_http_requests_total{") && strings.Contains(name, "status=5")
		if failed || strings.HasPrefix(name, "permitd_permits_total{") && !strings.Contains(name, "client_gone") {
			t.Errorf("%s is %v", name, n)
		}
	}
}

// absentMinded is a store that answers nobody who does not leave.
type absentMinded struct{ limiter.Store }

func (absentMinded) Decide(ctx context.Context, charges []*limiter.Charge) {
	<-ctx.Done()
	for _, c := range charges {
		c.Outcome.Err = ctx.Err()
	}
}
