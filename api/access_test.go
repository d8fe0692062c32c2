package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

const (
	permitsToken  = "permits-token-0123456789"
	viewerToken   = "viewer-token-0123456789"
	operatorToken = "operator-token-0123456789"
	testTokens    = "permits:app:" + permitsToken + ",viewer:dash:" + viewerToken + ",operator:ops:" + operatorToken
)

func parseTokens(t testing.TB, text string) *Tokens {
	t.Helper()
	list, err := ParseTokens(text)
	if err != nil {
		t.Fatal(err)
	}
	return NewTokens(list)
}

// newTokenServer is a ready server that asks for the test's tokens.
func newTokenServer(t testing.TB, o Options) *Server {
	t.Helper()
	c := limiter.New(memstore.New(memstore.Options{Clock: func() limiter.Instant { return noon }}))
	seed(t, c, limiter.ProviderDocs{Provider: "openrouter", Policy: parsePolicy(t, benchPolicy)})
	if o.Tokens == nil {
		o.Tokens = parseTokens(t, testTokens)
	}
	s := New(c, o)
	s.MarkReady()
	return s
}

func with(token string) string { return "Authorization: Bearer " + token }

// TestEveryRouteAsksForARole goes through all that is registered, so that none is left open.
func TestEveryRouteAsksForARole(t *testing.T) {
	s := newTokenServer(t, Options{})
	r, keyID := serve(t, s), limiter.KeyID("sk-1")
	for _, at := range s.echo.Routes() {
		path := strings.NewReplacer(":permit_id", "p_openrouter_x", ":provider", "openrouter", ":pool", "acme", ":key_id", keyID, ":file", "docs.js").Replace(at.Path)
		if strings.Contains(path, ":") {
			t.Fatalf("%s: this test has no value for a parameter", path)
		}
		if path == healthPath || path == readyPath || path == indexPath || path == docsPath || path == docsPath+"/docs.js" {
			for _, headers := range [][]string{nil, {with("unknown-token-0123456789")}} {
				if got := r.do(at.Method, path, "", headers...); got.status != http.StatusOK {
					t.Errorf("%s %s %v: %d %s", at.Method, path, headers, got.status, got.text)
				}
			}
			continue
		}
		read := at.Method == http.MethodGet || at.Method == http.MethodHead || strings.HasSuffix(path, "/preview")
		ofPermits := strings.HasPrefix(path, "/v1/permits")
		may := map[string]bool{permitsToken: ofPermits, viewerToken: read && !ofPermits, operatorToken: true}
		for token, may := range may {
			got := r.do(at.Method, path, "", with(token))
			if forbidden := got.status == http.StatusForbidden; forbidden == may || got.status == http.StatusUnauthorized {
				t.Errorf("%s %s with %s: %d %s", at.Method, path, token, got.status, got.text)
			} else if forbidden && at.Method != http.MethodHead {
				got.problem(t, 403, "forbidden")
			}
		}
		for _, headers := range [][]string{nil, {with("unknown-token-0123456789")}} {
			if got := r.do(at.Method, path, "", headers...); got.status != http.StatusUnauthorized {
				t.Errorf("%s %s %v: %d %s", at.Method, path, headers, got.status, got.text)
			}
		}
	}
}

func TestRoles(t *testing.T) {
	r := serve(t, newTokenServer(t, Options{}))
	const post, get, head = http.MethodPost, http.MethodGet, http.MethodHead
	for _, tt := range []struct {
		method, path, body                string
		nobody, permits, viewer, operator int
	}{
		{post, "/v1/permits", benchAsk, 401, 200, 403, 200},
		{post, "/v1/permits/batch", `{"permits":[` + benchAsk + `]}`, 401, 200, 403, 200},
		{post, "/v1/permits/p_openrouter_x/settle", `{"cost":{}}`, 401, 404, 403, 404},
		{post, "/v1/permits/p_openrouter_x/cancel", "", 401, 404, 403, 404},
		{post, "/v1/permits/p_openrouter_x/extend", `{"ttl_ms":1}`, 401, 404, 403, 404},
		{get, "/v1/providers", "", 401, 403, 200, 200},
		{head, "/v1/providers", "", 401, 403, 200, 200},
		{get, "/v1/providers/openrouter", "", 401, 403, 200, 200},
		{get, "/v1/providers/nobody", "", 401, 403, 404, 404},
		{get, "/v1/providers/openrouter/usage", "", 401, 403, 200, 200},
		{get, "/v1/providers/openrouter/history", "", 401, 403, 200, 200},
		{get, "/v1/instances", "", 401, 403, 200, 200},
		{post, "/v1/providers/openrouter/reset", `{"limits":["rpm"]}`, 401, 403, 403, 200},
		{post, "/v1/providers/openrouter/preview", `{"policy":{"limits":{}},"permits":[]}`, 401, 403, 200, 200},
		{http.MethodPut, "/v1/providers/other", `{"limits":{}}`, 401, 403, 403, 201},
		{http.MethodDelete, "/v1/providers/other", "", 401, 403, 403, 204},
		{http.MethodPut, "/v1/providers/openrouter/pools/acme", `{"label":"Acme"}`, 401, 403, 403, 201},
		{post, "/v1/providers/openrouter/keys", `{"key":"sk-1"}`, 401, 403, 403, 201},
		{get, healthPath, "", 200, 200, 200, 200},
		{get, readyPath, "", 200, 200, 200, 200},
		{head, readyPath, "", 200, 200, 200, 200},
		{get, "/v1/nothing", "", 401, 404, 404, 404},
		{get, "/v1/providers/", "", 401, 404, 404, 404},
		{get, "/v1/permits", "", 401, 405, 405, 405},
		{http.MethodOptions, "/v1/permits", "", 401, 204, 204, 204},
		{post, healthPath, "", 401, 405, 405, 405},
		{get, "/healthz/../v1/providers", "", 401, 404, 404, 404},
		{get, "//readyz", "", 401, 404, 404, 404},
	} {
		for _, as := range []struct {
			token string
			want  int
		}{{"", tt.nobody}, {permitsToken, tt.permits}, {viewerToken, tt.viewer}, {operatorToken, tt.operator}} {
			var headers []string
			if as.token != "" {
				headers = []string{with(as.token)}
			}
			got := r.do(tt.method, tt.path, tt.body, headers...)
			if got.status != as.want {
				t.Errorf("%s %s with %q: %d, want %d\n%s", tt.method, tt.path, as.token, got.status, as.want, got.text)
			}
			if got.status == http.StatusUnauthorized && (got.header.Get("WWW-Authenticate") != "Bearer" || got.header.Get("Allow") != "") {
				t.Errorf("%s %s: headers %v", tt.method, tt.path, got.header)
			}
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	s := newTokenServer(t, Options{})
	r := serve(t, s)
	for _, header := range []string{"Bearer " + permitsToken, "bearer " + permitsToken, "BEARER   " + permitsToken + " "} {
		if got := r.permit(benchAsk, "Authorization: "+header); got.status != 200 {
			t.Errorf("%q: %d %s", header, got.status, got.text)
		}
	}
	const none, wrong = `Bearer`, `Bearer error="invalid_token"`
	for header, challenge := range map[string]string{
		"Bearer":                                  none,
		"Bearer  ":                                none,
		permitsToken:                              none,
		"Basic " + permitsToken:                   none,
		"Bearer\t" + permitsToken:                 none,
		"Bearer:" + permitsToken:                  none,
		"Token " + permitsToken:                   none,
		"Bearer " + permitsToken[1:]:              wrong,
		"Bearer " + permitsToken + "x":            wrong,
		"Bearer " + strings.ToUpper(permitsToken): wrong,
		"Bearer app:" + permitsToken:              wrong,
		"Bearer " + permitsToken + ", Bearer x":   wrong,
		"Bearer \"" + permitsToken + "\"":         wrong,
		"Bearer " + strings.Repeat("x", 8<<10):    wrong,
	} {
		got := r.permit(benchAsk, "Authorization: "+header)
		got.problem(t, 401, "unauthorized")
		if is := got.header.Get("WWW-Authenticate"); is != challenge || strings.Contains(got.text, permitsToken) {
			t.Errorf("%.40q: WWW-Authenticate %q, want %q\n%s", header, is, challenge, got.text)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "/v1/permits?access_token="+permitsToken, strings.NewReader(benchAsk))
	req.Header["Authorization"] = []string{"Bearer " + permitsToken, "Bearer " + permitsToken}
	w := discard{header: http.Header{}}
	if s.ServeHTTP(&w, req); w.status != 401 {
		t.Errorf("two headers: %d", w.status)
	}
	if got := r.do("GET", "/v1/providers?access_token="+operatorToken, ""); got.status != 401 {
		t.Errorf("in the URL: %d", got.status)
	}
	got := r.get("/v1/providers", with(permitsToken))
	got.problem(t, 403, "forbidden")
	if is := got.header.Get("WWW-Authenticate"); is != `Bearer error="insufficient_scope"` {
		t.Errorf("WWW-Authenticate %q", is)
	}
}

// TestTokensBeforeBodies: who may not ask learns nothing from how a body is refused.
func TestTokensBeforeBodies(t *testing.T) {
	r := serve(t, newTokenServer(t, Options{}))
	r.permit("nonsense").problem(t, 401, "unauthorized")
	r.permit("nonsense", with(viewerToken)).problem(t, 403, "forbidden")
	r.permit(strings.Repeat(" ", maxBody+1)).problem(t, 401, "unauthorized")
}

// TestCaller: handlers learn the token's name, and idempotency keys are each token's own.
func TestCaller(t *testing.T) {
	s := newTokenServer(t, Options{Tokens: parseTokens(t, testTokens+",permits:other:other-token-0123456789")})
	s.on(needsToken, http.MethodGet, "/who", func(c echo.Context) error { return c.String(200, caller(c)) })
	who := func(s *Server, token string) string {
		req := httptest.NewRequest("GET", "http://localhost/who", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		return w.Body.String()
	}
	for token, want := range map[string]string{permitsToken: "app", viewerToken: "dash", operatorToken: "ops"} {
		if got := who(s, token); got != want {
			t.Errorf("%s is %q, want %q", token, got, want)
		}
	}
	r := serve(t, s)
	replayed := func(a answer) bool { return a.header.Get("Idempotency-Replayed") == "true" }
	one := func(token string) bool {
		return replayed(r.permit(benchAsk, with(token), "Idempotency-Key: k"))
	}
	if one(permitsToken) || !one(permitsToken) || one("other-token-0123456789") || !one("other-token-0123456789") {
		t.Error("idempotency keys are not each token's own")
	}
	many := func(token string) bool {
		element := strings.Replace(benchAsk, "{", `{"idempotency_key":"k",`, 1)
		got := r.do("POST", "/v1/permits/batch", `{"permits":[`+element+`]}`, with(token))
		return strings.Contains(got.text, `"idempotency_replayed":true`)
	}
	if !many(permitsToken) || many(operatorToken) || !many(operatorToken) {
		t.Error("idempotency keys in a batch are not each token's own")
	}

	open, _ := newTestServer(t, nil)
	open.on(needsOperator, http.MethodGet, "/who", func(c echo.Context) error { return c.String(200, "<"+caller(c)+">") })
	if got := who(open, operatorToken); got != "<>" {
		t.Errorf("without tokens: %s", got)
	}
}

func TestSurfaces(t *testing.T) {
	for surface, want := range map[Surface][3]int{ // of permits, providers, health
		Everything:    {200, 200, 200},
		PermitsOnly:   {200, 404, 200},
		AllButPermits: {404, 200, 200},
	} {
		r := serve(t, newTokenServer(t, Options{Surface: surface}))
		got := [3]int{r.permit(benchAsk, with(operatorToken)).status, r.get("/v1/providers", with(operatorToken)).status, r.get("/readyz").status}
		if got != want {
			t.Errorf("surface %d: %v, want %v", surface, got, want)
		}
		if got := r.do("POST", "/v1/permits/p_openrouter_x/cancel", "", with(operatorToken)); (got.status == 404 && strings.Contains(got.text, "unknown-permit")) != (surface != AllButPermits) {
			t.Errorf("surface %d: cancel %d %s", surface, got.status, got.text)
		}
	}
}

// countingThrottle notes who failed, and makes everybody wait.
type countingThrottle struct {
	wait    time.Duration
	clients chan string
}

func (c *countingThrottle) Failed(_ context.Context, client string) time.Duration {
	c.clients <- client
	return c.wait
}

func (c *countingThrottle) seen() (clients []string) {
	for {
		select {
		case client := <-c.clients:
			clients = append(clients, client)
		default:
			return clients
		}
	}
}

// TestThrottleIsForUnknownTokensOnly: not for valid ones, of whatever role, nor for requests without one.
func TestThrottleIsForUnknownTokensOnly(t *testing.T) {
	throttle := &countingThrottle{wait: 1500 * time.Millisecond, clients: make(chan string, 100)}
	r := serve(t, newTokenServer(t, Options{Throttle: throttle}))
	got := r.permit(benchAsk, with("unknown-token-0123456789"))
	got.problem(t, 429, "too-many-requests")
	if after := got.header.Get("Retry-After"); after != "2" || strings.Contains(got.text, "violated") {
		t.Errorf("Retry-After %q, %s", after, got.text)
	}
	if seen := throttle.seen(); !slices.Equal(seen, []string{"127.0.0.1"}) {
		t.Errorf("failures of %v", seen)
	}
	for _, tt := range []struct {
		status  int
		headers []string
	}{{200, []string{with(permitsToken)}}, {403, []string{with(viewerToken)}}, {401, nil}, {401, []string{"Authorization: Basic eDp5"}}} {
		if got := r.permit(benchAsk, tt.headers...); got.status != tt.status {
			t.Errorf("%v: %d %s", tt.headers, got.status, got.text)
		}
	}
	if seen := throttle.seen(); len(seen) != 0 {
		t.Errorf("failures of %v", seen)
	}
	throttle.wait = 0
	r.permit(benchAsk, with("unknown-token-0123456789")).problem(t, 401, "unauthorized")
}

func TestClientOf(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.7": "203.0.113.7", "::ffff:203.0.113.7": "203.0.113.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::": "2001:db8:1:2::/64", "2001:db8:1:3::": "2001:db8:1:3::/64",
		"fe80::1%eth0": "fe80::/64", "": "unknown", "somewhere": "unknown",
	} {
		if got := clientOf(address); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}

// TestLogsTellNoTokens: neither those that are accepted nor those that are not.
func TestLogsTellNoTokens(t *testing.T) {
	var log bytes.Buffer
	s := newTokenServer(t, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for _, token := range []string{permitsToken, viewerToken, "unknown-token-0123456789"} {
		r, _ := http.NewRequest("POST", "/v1/permits?access_token="+token, strings.NewReader(benchAsk))
		r.Header.Set("Authorization", "Bearer "+token)
		s.ServeHTTP(&discard{header: http.Header{}}, r)
	}
	text := log.String()
	for _, want := range []string{"caller=app", "caller=dash", "status=401", "refused a token that is not known"} {
		if !strings.Contains(text, want) {
			t.Errorf("log lacks %s", want)
		}
	}
	if strings.Contains(text, "-token-") {
		t.Errorf("log tells a token: %s", text)
	}
}

// TestAdmittingAllocatesNothing: it is on the way of every permit.
func TestAdmittingAllocatesNothing(t *testing.T) {
	s := newTokenServer(t, Options{})
	r, _ := http.NewRequest("POST", "/v1/permits", nil)
	r.Header.Set("Authorization", "Bearer "+permitsToken)
	c := &request{Context: s.echo.NewContext(r, nil)}
	c.SetPath("/v1/permits")
	if n := testing.AllocsPerRun(100, func() {
		if err := s.admit(c); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
