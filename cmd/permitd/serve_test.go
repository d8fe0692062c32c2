package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", goodPolicies), "--log-format", "json")
	if !strings.HasPrefix(i.url, "http://127.0.0.1:") || strings.HasSuffix(i.url, ":0") {
		t.Errorf("listens on %s", i.url)
	}
	if status, text := i.permit(`{"provider":"openrouter","key":"sk-1"}`); status != 200 || !strings.Contains(text, `"allowed":true`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := i.permit(`{"provider":"openrouter","key":"sk-1"}`); status != 429 || !strings.Contains(text, `"violated-policies":["key-rpm"]`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text, _ := i.get("/v1/providers"); status != 200 || strings.Count(text, `"name"`) != 2 {
		t.Errorf("%d %s", status, text)
	}
	if status, text, _ := i.get("/readyz"); status != 200 || text != `{"status":"ready"}`+"\n" {
		t.Errorf("%d %s", status, text)
	}
	req, _ := http.NewRequest("GET", i.url+"/v1/providers", nil)
	req.Host = "rebound.example"
	resp, err := i.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("Host rebound.example: %d", resp.StatusCode)
	}
	i.signal()
	if code := i.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
	log := i.log.String()
	for _, want := range []string{"tuning are lost at exit", `"provider":"openrouter"`, `"msg":"policies","file":`, "stopped"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if strings.Contains(log, "sk-1") {
		t.Error("a key is in the log")
	}
}

func TestStarterPolicies(t *testing.T) {
	i := start(t)
	if _, text, _ := i.get("/v1/providers"); !strings.Contains(text, `"name":"openrouter"`) {
		t.Errorf("%s", text)
	}
	if log := i.log.String(); strings.Contains(log, "WARN") {
		t.Errorf("warns of what nobody here wrote: %s", log)
	}
}

func TestFlagsWinOverEnvironment(t *testing.T) {
	t.Setenv("PERMITD_POLICIES", file(t, "env.yaml", "providers:\n  from-env:\n    limits: {}\n"))
	t.Setenv("PERMITD_LOG_LEVEL", "debug")
	i := start(t)
	if _, text, _ := i.get("/v1/providers"); !strings.Contains(text, "from-env") {
		t.Errorf("%s", text)
	}
	if !strings.Contains(i.log.String(), "route=/v1/providers") {
		t.Errorf("no access log at debug: %s", i.log)
	}
	i = start(t, "--policies", file(t, "flag.yaml", "providers:\n  from-flag:\n    limits: {}\n"))
	if _, text, _ := i.get("/v1/providers"); !strings.Contains(text, "from-flag") {
		t.Errorf("%s", text)
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, stdout, stderr := call(t, "", "--addr", l.Addr().String(), "--log-level", "error")
	if want := "permitd: can't listen on " + l.Addr().String() + ": bind: address already in use\n"; code != 1 || stdout != "" || stderr != want {
		t.Errorf("exit %d, %q, %q, want %q", code, stdout, stderr, want)
	}
}

// TestDrain: after the signal permitd is not ready but still answers, for as long as it was told to, and then ends.
func TestDrain(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", goodPolicies), "--drain-delay", "1s")
	began := time.Now()
	i.signal()
	eventually(t, func() bool {
		status, text, err := i.get("/readyz")
		if err != nil {
			t.Fatal(err)
		}
		return status == 503 && text == `{"status":"stopping"}`+"\n"
	})
	if status, text := i.permit(`{"provider":"openrouter","key":"sk-1"}`); status != 200 {
		t.Errorf("while draining: %d %s", status, text)
	}
	if status, _, err := i.get("/healthz"); status != 200 || err != nil {
		t.Errorf("healthz while draining: %d %v", status, err)
	}
	if code := i.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("ended after %v", took)
	}
	if _, _, err := i.get("/readyz"); err == nil {
		t.Error("still answers")
	}
}

func TestHealth(t *testing.T) {
	i := start(t)
	for _, args := range [][]string{
		{"health", "--addr", i.addr()},
		{"health", "--url", i.url},
		{"health", "--url", i.url + "/"},
		{"health", "--url", i.url + "/healthz"},
		{"health", "--addr", "0.0.0.0:" + port(i)},
		{"health", "--addr", ":" + port(i)},
	} {
		if code, stdout, stderr := call(t, "", args...); code != 0 || stdout != "ready\n" || stderr != "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
	t.Setenv("PERMITD_ADDR", i.addr())
	if code, _, stderr := call(t, "", "health"); code != 0 {
		t.Errorf("by environment: exit %d, %q", code, stderr)
	}
	code, _, stderr := call(t, "", "health", "--url", i.url+"/nothing")
	if want := "permitd: not ready: GET " + i.url + "/nothing: 404 Not Found\n"; code != 1 || stderr != want {
		t.Errorf("exit %d, %q, want %q", code, stderr, want)
	}
	i.signal()
	i.ended()
	code, _, stderr = call(t, "", "health")
	if code != 1 || !strings.HasPrefix(stderr, "permitd: not ready: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stopped: exit %d, %q", code, stderr)
	}
}

func TestHealthTargets(t *testing.T) {
	for _, tt := range []struct {
		command healthCommand
		want    string
	}{
		{healthCommand{Addr: "127.0.0.1:1"}, "http://127.0.0.1:1/readyz"},
		{healthCommand{Addr: "[::]:1"}, "http://[::1]:1/readyz"},
		{healthCommand{Addr: "0.0.0.0:1"}, "http://127.0.0.1:1/readyz"},
		{healthCommand{Addr: ":1"}, "http://127.0.0.1:1/readyz"},
		{healthCommand{Addr: "[::1]:1", TLSCert: "x"}, "https://[::1]:1/readyz"},
		{healthCommand{Addr: "localhost:1", URL: "https://permitd.internal"}, "https://permitd.internal/readyz"},
		{healthCommand{URL: "http://h:1/x?y=1"}, "http://h:1/x?y=1"},
	} {
		if got, err := tt.command.target(settings{}); err != nil || got != tt.want {
			t.Errorf("%+v: %q, %v, want %q", tt.command, got, err, tt.want)
		}
	}
}

func port(i *instance) string {
	_, port, _ := net.SplitHostPort(i.addr())
	return port
}
