package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const oneProvider = "providers:\n  a:\n    limits:\n      day: {scope: pool, kind: quota, amount: 10, per: day}\n" +
	"    pools: {acme: {label: Acme}, zeta: {}}\n"

// TestApplyConflict: what another operator writes in between goes into the history, and the file on top of it; who writes
// again and again is not fought.
func TestApplyConflict(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", oneProvider))
	wanted := file(t, "p.yaml", strings.NewReplacer("10", "20", "Acme", "Acme Ltd").Replace(oneProvider))
	meddle := func(path, amount string) {
		body := `{"label":"theirs` + amount + `"}`
		if path == "/v1/providers/a" {
			body = `{"limits":{"day":{"scope":"pool","kind":"quota","amount":` + amount + `,"per":"day"}}}`
		}
		i.send("PUT", path, body)
	}
	f := newFront(t, i, func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method == "PUT" {
			meddle(r.URL.Path, map[int]string{1: "31", 2: "32"}[n])
		}
		return false
	})
	twice := "somebody else writes it at the same time, twice already: find out who from the history, and then what it is to be\n"
	applied(t, f.URL, wanted, 1, "", "permitd: a: policy: "+twice+
		"permitd: 0 of 2 changes made; not made: a: policy, a: pool acme; run the same command again to finish\n")

	// once only
	f.requests = nil
	f.on = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method == "PUT" && n == 1 {
			meddle(r.URL.Path, "33")
		}
		return false
	}
	applied(t, f.URL, wanted, 0, "a: policy changed (revision 5); revision 4, which somebody else wrote meanwhile, is replaced\n"+
		"a: pool acme changed; revision 2, which somebody else wrote meanwhile, is replaced\n2 changes made\n", "")

	// what they write is what the file says
	i.send("PUT", "/v1/providers/a/pools/acme", `{"label":"old"}`)
	f.requests = nil
	f.on = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method == "PUT" && n == 1 {
			i.send("PUT", "/v1/providers/a/pools/acme", `{"label":"Acme Ltd"}`)
		}
		return false
	}
	applied(t, f.URL, wanted, 0, "a: pool acme is as the file says by now (revision 5)\n1 change made\n", "")
}

// TestApplyHalfWay: what fails half-way says how far it came, and a second run finishes it.
func TestApplyHalfWay(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", emptyPolicies))
	f := newFront(t, i, func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method == "PUT" && strings.HasSuffix(r.URL.Path, "/acme") {
			http.Error(w, "no such luck\x1b[1m\nmore", http.StatusBadGateway)
			return true
		}
		return false
	})
	wanted := file(t, "p.yaml", oneProvider)
	applied(t, f.URL, wanted, 1, "a: policy created (revision 1)\n",
		"permitd: a: pool acme: URL answered 502 Bad Gateway: no such luck [1m (is --url that of a permitd?); it may be written all the same\n"+
			"permitd: 1 of 3 changes made; not made: a: pool acme, a: pool zeta; run the same command again to finish\n")
	applied(t, i.url, wanted, 0, "a: pool acme created\na: pool zeta created\n2 changes made\n", "")
}

// TestApplyAgain: what is to be sent later is sent again, also when it turns out that it was written the first time.
func TestApplyAgain(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", emptyPolicies))
	f := newFront(t, i, func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n >= maxTries {
			return false
		}
		if r.Method == "PUT" && n == 1 {
			i.send("PUT", r.URL.Path, map[bool]string{true: `{"label":"Acme"}`, false: `{}`}[strings.HasSuffix(r.URL.Path, "acme")])
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(map[bool]int{true: 503, false: 429}[n%2 == 0])
		return true
	})
	applied(t, f.URL, file(t, "p.yaml", oneProvider), 0, "a: policy created (revision 1)\na: pool acme is as the file says by now (revision 1)\n"+
		"a: pool zeta is as the file says by now (revision 1)\n3 changes made\n", "")

	f.on = func(w http.ResponseWriter, r *http.Request, n int) bool {
		w.Header().Set("Retry-After", "0")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(503)
		w.Write([]byte(`{"type":"urn:permitd:problem:overloaded","title":"Overloaded","detail":"later"}`))
		return true
	}
	f.requests = nil
	applied(t, f.URL, file(t, "p.yaml", oneProvider), 1, "", "permitd: URL answered 503 Service Unavailable: later\npermitd: nothing was changed\n")
	if len(f.requests) != maxTries {
		t.Errorf("asked %d times", len(f.requests))
	}

	f.on = func(w http.ResponseWriter, r *http.Request, n int) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
		return true
	}
	f.requests = nil
	applied(t, f.URL, file(t, "p.yaml", oneProvider), 1, "", "permitd: URL answered 429 Too Many Requests (is --url that of a permitd?)\npermitd: nothing was changed\n")
	if len(f.requests) != 1 {
		t.Errorf("asked %d times", len(f.requests))
	}
}

// TestTokens: each way in which a token can be wrong has an answer of its own, and no answer shows one.
func TestTokens(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", oneProvider))
	f := newFront(t, i, func(w http.ResponseWriter, r *http.Request, n int) bool {
		status, name := 0, ""
		switch token := r.Header.Get("Authorization"); {
		case token == "Bearer op-secret" || token == "Bearer view-secret" && r.Method == "GET":
			return false
		case token == "Bearer view-secret":
			status, name = 403, "forbidden"
		default:
			status, name = 401, "unauthorized"
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		w.Write([]byte(`{"type":"urn:permitd:problem:` + name + `","title":"No","detail":"so it is"}`))
		return true
	})
	wanted := file(t, "p.yaml", strings.Replace(oneProvider, "10", "20", 1))
	unchanged := "permitd: nothing was changed\n"
	applied(t, f.URL, wanted, 1, "", "permitd: URL answered 401 Unauthorized: so it is (give a token of role operator as --token @PATH, or in PERMITD_TOKEN)\n"+unchanged)
	applied(t, f.URL, wanted, 1, "", "permitd: URL answered 401 Unauthorized: so it is (--token is the token alone, without role and name)\n"+unchanged, "--token", "wrong-secret")
	applied(t, f.URL, wanted, 1, "", "permitd: a: policy: URL answered 403 Forbidden: so it is (--token must be of role operator)\n"+
		"permitd: 0 of 1 change made; not made: a: policy; run the same command again to finish\n", "--token", "view-secret")
	applied(t, f.URL, wanted, 0, "a: policy would be changed\n1 change would be made\n", "", "--token", "view-secret", "--dry-run")
	applied(t, f.URL, wanted, 0, "a: policy changed (revision 2)\n1 change made\n", "", "--token", "@"+file(t, "token", "op-secret\n"))
	t.Setenv("PERMITD_TOKEN", "wrong-secret")
	applied(t, f.URL, wanted, 1, "", "permitd: URL answered 401 Unauthorized: so it is (PERMITD_TOKEN (--token) is the token alone, without role and name)\n"+unchanged)
	t.Setenv("PERMITD_TOKEN", "view-secret")
	applied(t, f.URL, wanted, 0, nothing, "")
	if code, stdout, stderr := call(t, "", "export", "--url", f.URL); code != 0 || !strings.HasPrefix(stdout, "providers:\n  a:\n") || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

// TestUnanswered: whatever is wrong with the address, one line says what to do.
func TestUnanswered(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := "http://" + l.Addr().String()
	l.Close()
	i := start(t, "--policies", file(t, "p.yaml", oneProvider))
	cert, key := certificate(t, "a")
	secure := start(t, "--policies", file(t, "p.yaml", oneProvider), "--tls-cert", cert, "--tls-key", key)
	other := newFront(t, i, func(w http.ResponseWriter, r *http.Request, n int) bool {
		switch {
		case strings.HasPrefix(r.URL.Path, "/page"):
			w.Write([]byte("<html>hello"))
		case strings.HasPrefix(r.URL.Path, "/moved"):
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
		return true
	})
	for _, tt := range []struct{ url, want string }{
		{away, "can't reach " + away + ": dial tcp " + away[len("http://"):] + ": connect: connection refused: is permitd running there, and is --url (or PERMITD_ADDR) right?"},
		{other.URL, other.URL + " answered 404 Not Found: 404 page not found (is --url that of a permitd of this version? Where it has an --admin-addr, it must be that address)"},
		{other.URL + "/page", other.URL + "/page answers, but not as permitd does: is --url right?"},
		{other.URL + "/moved/", other.URL + `/moved answered 302 Found (it redirects to "https://elsewhere.example/": give the URL of permitd itself as --url)`},
		{secure.url, "can't reach " + secure.url + ": tls: failed to verify certificate: x509: "},
		{"https" + i.url[len("http"):], "can't reach https" + i.url[len("http"):] + ": http: server gave HTTP response to HTTPS client: it does not speak HTTPS: give --url with http://, and no --tls-cert"},
		{"http" + secure.url[len("https"):], "http" + secure.url[len("https"):] + " answered 400 Bad Request: Client sent an HTTP request to an HTTPS server. (is --url that of a permitd?)"},
	} {
		for _, args := range [][]string{{"apply", file(t, "p.yaml", oneProvider)}, {"export"}} {
			code, stdout, stderr := call(t, "", append(args, "--url", tt.url)...)
			first, _, _ := strings.Cut(stderr, "\n")
			if code != 1 || stdout != "" || !strings.HasPrefix(first, "permitd: "+tt.want) {
				t.Errorf("%s: exit %d, %q\n%swant\n%s", tt.url, code, stdout, stderr, tt.want)
			}
		}
	}
	if code, _, stderr := call(t, "", "export", "--url", secure.url); code != 1 || !strings.Contains(stderr, "--tls-cert") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	if code, stdout, stderr := call(t, "", "export", "--addr", secure.addr(), "--tls-cert", cert); code != 0 || stdout == "" || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	t.Setenv("PERMITD_ADMIN_ADDR", "")
	t.Setenv("PERMITD_ADDR", i.addr())
	if code, stdout, stderr := call(t, "", "export"); code != 0 || stdout == "" || stderr != "" {
		t.Errorf("by PERMITD_ADDR: exit %d, %q, %q", code, stdout, stderr)
	}
	t.Setenv("PERMITD_ADDR", "127.0.0.1:1")
	t.Setenv("PERMITD_ADMIN_ADDR", i.addr())
	if code, stdout, stderr := call(t, "", "export"); code != 0 || stdout == "" || stderr != "" {
		t.Errorf("by PERMITD_ADMIN_ADDR: exit %d, %q, %q", code, stdout, stderr)
	}
}

// TestSilentServer: a server that accepts and says nothing is not waited for for ever.
func TestSilentServer(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer server.Close()
	defer close(gone)
	r, err := (&remoteFlags{URL: server.URL}).open(settings{}, "operator")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.http.Timeout = 20 * time.Millisecond
	_, err = r.get(t.Context(), "/")
	if want := server.URL + " did not answer within 20ms: try again, and see its log if that helps nothing"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestApplyChecks: a file is checked before anybody is asked anything, and API keys in it are not shown.
func TestApplyChecks(t *testing.T) {
	bad := file(t, "p.yaml", "providers:\n  a:\n    limits:\n      x: {scope: key, kind: rate, amount: 0, per: 1m}\n    keys:\n      sk-or-secret: {}\n")
	code, stdout, stderr := call(t, "", "apply", "--url", "http://127.0.0.1:1", bad)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if code != 1 || stdout != "" || len(lines) != 2 || !strings.HasPrefix(lines[0], bad+":4: a: /limits/x/amount: ") ||
		!strings.HasPrefix(lines[1], bad+":6: a: /keys: the name here is not a key id") || strings.Contains(stderr, "secret") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, stderr = call(t, "", "apply", "--url", "http://127.0.0.1:1", "missing.yaml")
	if code != 1 || stdout != "" || stderr != "permitd: missing.yaml: can't be read: no such file or directory\n" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}
