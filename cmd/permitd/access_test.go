package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

const (
	permitsToken  = "permits-token-0123456789"
	viewerToken   = "viewer-token-0123456789"
	operatorToken = "operator-token-0123456789"
	threeTokens   = "permits:app:" + permitsToken + ",viewer:dash:" + viewerToken + ",operator:ops:" + operatorToken
	unknownToken  = "unknown-token-0123456789"
)

// as sends a request with a token, "" for none, and headers of name and value.
func (i *instance) as(token, method, url, body string, headers ...string) (status int, header http.Header) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	resp, err := i.client.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		i.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header
}

// reads is the status of a read with a token.
func (i *instance) reads(token string, headers ...string) int {
	i.t.Helper()
	status, _ := i.as(token, "GET", i.url+"/v1/providers", "", headers...)
	return status
}

func TestTokensServe(t *testing.T) {
	sum := sha256.Sum256([]byte(operatorToken))
	t.Setenv("PERMITD_TOKENS", "permits:app:"+permitsToken+"\nviewer:dash:sixteen-of-them-\n# a comment\noperator:ops:sha256:"+hex.EncodeToString(sum[:]))
	i := start(t, "--addr", "0.0.0.0:0", "--log-level", "debug")
	i.url = "http://127.0.0.1:" + port(i)
	for token, want := range map[string][2]int{"": {401, 401}, unknownToken: {401, 401}, permitsToken: {200, 403}, "sixteen-of-them-": {403, 200}, operatorToken: {200, 200}} {
		status, _ := i.as(token, "POST", i.url+"/v1/permits", `{"provider":"openrouter","key":"sk-1","model":"m"}`)
		if got := [2]int{status, i.reads(token)}; got != want {
			t.Errorf("%q: %v, want %v", token, got, want)
		}
	}
	if status := i.reads(operatorToken, "Origin", "https://console.example"); status != 200 {
		t.Errorf("the guard is on beside tokens: %d", status)
	}
	if status, _, _ := i.get("/readyz"); status != 200 {
		t.Errorf("readyz %d", status)
	}
	if code, _, stderr := call(t, "", "health", "--url", i.url); code != 0 {
		t.Errorf("health: exit %d, %s", code, stderr)
	}
	log := i.log.String()
	if strings.Contains(log, "fewer than") {
		t.Errorf("of tokens that are long enough the log says %s", log)
	}
	for _, secret := range []string{permitsToken, operatorToken, unknownToken, hex.EncodeToString(sum[:])} {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}

// TestShortTokens: they are warned of on loopback and refused elsewhere, in a list, in a file, and in one that changes.
func TestShortTokens(t *testing.T) {
	i := start(t, "--tokens", "operator:ops:"+operatorToken+",viewer:dash:only-fifteen-ch")
	if log := i.log.String(); strings.Count(log, "fewer than 16 characters") != 1 || !strings.Contains(log, "name=dash") || i.reads("only-fifteen-ch") != 200 {
		t.Errorf("on loopback the log says %s", log)
	}
	path := file(t, "tokens", "operator:ops:"+operatorToken+"\nviewer:dash:short\n")
	for _, args := range [][]string{
		{"--addr", "0.0.0.0:0", "--tokens", "@" + path},
		{"--addr", "0.0.0.0:0", "--tokens", "operator:ops:" + operatorToken + ",viewer:dash:short"},
		{"--addr", "127.0.0.1:0", "--admin-addr", ":0", "--tokens", "@" + path},
	} {
		code, _, stderr := call(t, "", args...)
		if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "entry 2 (dash): beyond loopback a token of fewer than 16 characters may be guessed") || strings.Contains(stderr, operatorToken) {
			t.Errorf("%q: exit %d, %s", args, code, stderr)
		}
	}
	if err := os.WriteFile(path, []byte("operator:ops:"+operatorToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i = start(t, "--addr", "0.0.0.0:0", "--tokens", "@"+path)
	i.url = "http://127.0.0.1:" + port(i)
	if err := os.WriteFile(path, []byte("viewer:dash:short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(i.log.String(), "can't be used") })
	if i.reads("short") != 401 || i.reads(operatorToken) != 200 {
		t.Error("a short token is taken from a file that changed")
	}
}

func TestInsecureNoAuth(t *testing.T) {
	i := start(t, "--addr", "0.0.0.0:0", "--insecure-no-auth")
	i.url = "http://127.0.0.1:" + port(i)
	if status := i.reads("", "Origin", "https://console.example"); status != 200 {
		t.Errorf("beyond loopback: %d", status)
	}
	if n := strings.Count(i.log.String(), "whoever reaches permitd may do everything"); n != 1 {
		t.Errorf("warns %d times", n)
	}
	t.Setenv("PERMITD_INSECURE_NO_AUTH", "true")
	i = start(t)
	if status := i.reads("", "Origin", "https://console.example"); status != 403 {
		t.Errorf("on loopback the guard stays: %d", status)
	}
	t.Setenv("PERMITD_INSECURE_NO_AUTH", "")
	if i = start(t); strings.Contains(i.log.String(), "WARN") {
		t.Errorf("logged %s", i.log)
	}
	if i = start(t, "--insecure-no-auth", "--tokens", threeTokens); !strings.Contains(i.log.String(), "has no effect") || i.reads("") != 401 {
		t.Errorf("with tokens: logged %s", i.log)
	}
}

func TestAdminAddr(t *testing.T) {
	cert, key := certificate(t, "permitd")
	for name, args := range map[string][]string{"http": nil, "https": {"--tls-cert", cert, "--tls-key", key}} {
		t.Run(name, func(t *testing.T) {
			i := start(t, append([]string{"--admin-addr", "127.0.0.1:0", "--tokens", threeTokens, "--drain-delay", "1s"}, args...)...)
			i.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
			if !strings.HasPrefix(i.url, name+"://127.0.0.1:") || !strings.HasPrefix(i.admin, name+"://127.0.0.1:") || i.url == i.admin {
				t.Fatalf("listens on %s and %s", i.url, i.admin)
			}
			for _, tt := range []struct {
				method, path, body string
				main, admin        int
			}{
				{"POST", "/v1/permits", `{"provider":"openrouter","key":"sk-1","model":"m"}`, 200, 404},
				{"POST", "/v1/permits/batch", `{"permits":[{"provider":"openrouter","key":"sk-1","model":"m"}]}`, 200, 404},
				{"GET", "/v1/providers", "", 404, 200},
				{"GET", "/v1/providers/openrouter/usage", "", 404, 200},
				{"GET", "/healthz", "", 200, 200},
				{"GET", "/readyz", "", 200, 200},
			} {
				main, _ := i.as(operatorToken, tt.method, i.url+tt.path, tt.body)
				admin, _ := i.as(operatorToken, tt.method, i.admin+tt.path, tt.body)
				if main != tt.main || admin != tt.admin {
					t.Errorf("%s %s: %d and %d, want %d and %d", tt.method, tt.path, main, admin, tt.main, tt.admin)
				}
			}
			if status, _ := i.as("", "GET", i.admin+"/v1/providers", ""); status != 401 {
				t.Errorf("admin without a token: %d", status)
			}
			i.signal()
			for _, url := range []string{i.url, i.admin} {
				eventually(t, func() bool { status, _ := i.as("", "GET", url+"/readyz", ""); return status == 503 })
			}
			if code := i.ended(); code != 0 {
				t.Errorf("exit %d", code)
			}
			for _, url := range []string{i.url, i.admin} {
				if resp, err := i.client.Get(url + "/readyz"); err == nil {
					resp.Body.Close()
					t.Errorf("%s still answers", url)
				}
			}
		})
	}
}

// TestEachListenerIsGuardedForItself: without tokens, by whether that one is on loopback.
func TestEachListenerIsGuardedForItself(t *testing.T) {
	i := start(t, "--addr", "0.0.0.0:0", "--admin-addr", "127.0.0.1:0", "--insecure-no-auth")
	i.url = "http://127.0.0.1:" + port(i)
	body := `{"provider":"openrouter","key":"sk-1","model":"m"}`
	if status, _ := i.as("", "POST", i.url+"/v1/permits", body, "Origin", "https://x"); status != 200 {
		t.Errorf("permits: %d", status)
	}
	if status, _ := i.as("", "GET", i.admin+"/v1/providers", "", "Origin", "https://x"); status != 403 {
		t.Errorf("admin: %d", status)
	}
	if status, _ := i.as("", "GET", i.admin+"/v1/providers", ""); status != 200 {
		t.Errorf("admin from a program: %d", status)
	}
}

func TestTakenAdminPort(t *testing.T) {
	i := start(t)
	code, stdout, stderr := call(t, "", "--addr", "127.0.0.1:0", "--admin-addr", i.addr(), "--log-level", "error")
	if want := "permitd: can't listen on " + i.addr() + ": bind: address already in use\n"; code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit %d, %q, %q, want %q", code, stdout, stderr, want)
	}
}

// TestTokenFile: the file is followed without a restart; one that can't be used changes nothing.
func TestTokenFile(t *testing.T) {
	path := file(t, "tokens", "viewer:old:"+viewerToken+"\n")
	i := start(t, "--tokens", "@"+path)
	if status := i.reads(viewerToken); status != 200 {
		t.Fatalf("%d", status)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("viewer:new:" + operatorToken + ",nonsense:x:" + unknownToken + "\n")
	eventually(t, func() bool { return strings.Contains(i.log.String(), "can't be used") })
	if i.reads(viewerToken) != 200 || i.reads(operatorToken) != 401 {
		t.Error("a bad file changed the tokens")
	}
	i.shows(t, viewerToken, `permitd_reload_failed{what="tokens"} 1`)
	write("viewer:new:" + operatorToken + "\n")
	eventually(t, func() bool { return strings.Contains(i.log.String(), "tokens read again") })
	if i.reads(viewerToken) != 401 || i.reads(operatorToken) != 200 {
		t.Error("the tokens are not those of the file")
	}
	i.shows(t, operatorToken, `permitd_reload_failed{what="tokens"} 0`)
	log := i.log.String()
	if !strings.Contains(log, "entry 2: the role must be") || strings.Contains(log, "-token-") {
		t.Errorf("logged %s", log)
	}
}

// TestFailedLoginsAreCountedTogether: who failed on one instance waits on the other; a valid token of the same address does
// not, and neither does another address. Nothing in Redis tells a token.
func TestFailedLoginsAreCountedTogether(t *testing.T) {
	both := startShared(t, 2, "--tokens", threeTokens, "--trusted-proxies", "127.0.0.1", "--log-level", "debug")
	a, b := both[0], both[1]
	subnet := 0
	from := func(host int) []string {
		return []string{"X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", subnet, host)}
	}
	eventually(t, func() bool { // a machine that is slow at the moment counts each for itself
		subnet++
		for range 10 {
			if status := a.reads(unknownToken, from(1)...); status != 401 && status != 429 {
				t.Fatalf("%d", status)
			}
		}
		status, header := b.as(unknownToken, "GET", b.url+"/v1/providers", "", from(1)...)
		if status == 429 && header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return status == 429
	})
	for _, i := range both {
		letIn(t, func() int { return i.reads(viewerToken, from(1)...) })
		if status := i.reads("", from(1)...); status != 401 {
			t.Errorf("no token from there: %d", status)
		}
		if status := i.reads(unknownToken, from(2)...); status != 401 {
			t.Errorf("an unknown token from elsewhere: %d", status)
		}
		letIn(t, func() int {
			status, _ := i.as(permitsToken, "POST", i.url+"/v1/permits", `{"provider":"openrouter","key":"sk-1","model":"m"}`, append(from(1), "Idempotency-Key", "k")...)
			return status
		})
		if strings.Contains(i.log.String(), "-token-") {
			t.Errorf("the log tells a token: %s", i.log)
		}
	}
	checkRedisTellsNoTokens(t)
}

// letIn asks until the answer is 200. It may be 503 on a machine that is slow at the moment, and is never of access.
func letIn(t *testing.T, ask func() int) {
	t.Helper()
	eventually(t, func() bool {
		status := ask()
		if status != 200 && status != 503 {
			t.Fatalf("with a valid token: %d", status)
		}
		return status == 200
	})
}

// checkRedisTellsNoTokens looks at all that is stored.
func checkRedisTellsNoTokens(t *testing.T) {
	t.Helper()
	c := redistest.Shared(t).Client()
	defer c.Close()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	logins := 0
	for _, k := range keys {
		if strings.Contains(k, ":rate:login:198.51.") {
			logins++
		}
		stored, err := c.Dump(t.Context(), k).Result()
		if err != nil && c.Exists(t.Context(), k).Val() == 1 {
			t.Fatal(k, err)
		}
		for _, secret := range []string{permitsToken, viewerToken, operatorToken, unknownToken} {
			if strings.Contains(k, secret) || strings.Contains(stored, secret) {
				t.Errorf("%s tells %s", k, secret)
			}
		}
	}
	if logins == 0 {
		t.Error("no failed login in Redis")
	}
}

// TestForwardedForIsNotBelieved from who is not a trusted proxy: failures count for the peer.
func TestForwardedForIsNotBelieved(t *testing.T) {
	i := start(t, "--tokens", threeTokens, "--trusted-proxies", "10.0.0.0/8 192.0.2.7,2001:db8::/32")
	for n := range 11 {
		status := i.reads(unknownToken, "X-Forwarded-For", fmt.Sprintf("198.51.100.%d", n))
		if want := map[bool]int{true: 429, false: 401}[n == 10]; status != want {
			t.Errorf("failure %d: %d, want %d", n, status, want)
		}
	}
}

// TestRedisPaused: who presents an unknown token is told so soon, and still throttled.
func TestRedisPaused(t *testing.T) {
	server := redistest.Start(t)
	i := start(t, "--tokens", threeTokens, "--redis-url", server.URL())
	server.Pause()
	defer server.Resume()
	for n := range 11 {
		began := time.Now()
		status := i.reads(unknownToken)
		if want := map[bool]int{true: 429, false: 401}[n == 10]; status != want {
			t.Errorf("failure %d: %d, want %d", n, status, want)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
	}
	if status, _ := i.as(viewerToken, "POST", i.url+"/v1/permits", "{}"); status != 403 {
		t.Errorf("%d", status)
	}
}
