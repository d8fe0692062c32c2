package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/permitd/permitd/limiter"
)

// loadtest runs the program.
func loadtest(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// writeTrace writes a trace of so many requests of 50 to 150 tokens over span, the same every time.
func writeTrace(t *testing.T, requests int, span time.Duration) string {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	b.WriteString("TIMESTAMP,ContextTokens,GeneratedTokens\n")
	begin := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for i := range requests {
		at := begin.Add(span * time.Duration(i) / time.Duration(requests-1))
		fmt.Fprintf(&b, "%s,%d,10\n", at.Format("2006-01-02 15:04:05.0000000"), 40+random.IntN(101))
	}
	path := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplay(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := writeTrace(t, 400, 90*time.Second)
	for _, tt := range []struct {
		name string
		args []string
	}{
		// Margins for a busy machine: 0.25 s of tokens in the bucket, 0.3 s of slack for the window.
		{"bucket", []string{"--mock=bucket", "--burst=0.5x", "--mock-burst=1x", "--assert=upstream_429=0", "--assert=allowed=400"}},
		{"window", []string{"--mock=window", "--burst=0.2x", "--slack=300ms", "--capacity=1.5x", "--assert=upstream_429=0", "--assert=allowed=400"}},
		{"accounts", []string{"--mock=bucket", "--burst=0.5x", "--mock-burst=1x", "--accounts=5", "--account-capacity=0.7x", "--assert=upstream_429=0", "--assert=allowed=400"}},
		{"bucket without permitd", []string{"--mock=bucket", "--mock-burst=0.2x", "--strategy=none", "--assert=upstream_429>0", "--assert=asked=0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"replay", "--trace", path, "--speed=120", "--json=-", "--assert=served=400", "--assert=failed=0"}, tt.args...)
			code, stdout, table := loadtest(t, args...)
			if code != exitOK {
				t.Fatalf("exit %d\n%s", code, table)
			}
			var report struct {
				Settings struct{ Per string }
				Runs     []struct {
					Served, Requests, Denied int
					Tokens                   int64 `json:"tokens_admitted"`
					Wait                     struct{ Count int }
				}
			}
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Runs) != 1 {
				t.Fatalf("%v, %d runs", err, len(report.Runs))
			}
			r := report.Runs[0]
			if r.Served != 400 || r.Requests != 400 || r.Wait.Count != 400 || report.Settings.Per != "500ms" || r.Tokens < 400*50 {
				t.Errorf("%+v", r)
			}
			if !strings.Contains(table, "start to admitted") || !strings.Contains(table, "holds: served=400") {
				t.Errorf("table:\n%s", table)
			}
		})
	}
}

func TestReplayBreaksAssertions(t *testing.T) {
	path := writeTrace(t, 3, time.Second)
	code, stdout, _ := loadtest(t, "replay", "--trace", path, "--capacity=10000", "--assert=served=3", "--assert=denied>0", "--assert=used>0")
	if code != exitBroken {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"holds: served=3 (it is 3)", "broken: denied>0 (it is 0)", "broken: used>0: the run yielded no used", "nobody waited"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

func TestReplayNeedsItsPermitd(t *testing.T) {
	path := writeTrace(t, 3, time.Second)
	code, _, stderr := loadtest(t, "replay", "--trace", path, "--permitd=http://127.0.0.1:1/")
	if code != exitBroken || !strings.Contains(stderr, "no permitd answers at http://127.0.0.1:1") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestReplayCountsErrors(t *testing.T) {
	path := writeTrace(t, 3, time.Second)
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	code, stdout, stderr := loadtest(t, "replay", "--trace", path, "--permitd", broken.URL, "--progress=always")
	if code != exitBroken || !strings.Contains(stdout, "error: permitd: 404: 3 times") || !strings.Contains(stderr, "can't be read") {
		t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestReplayShowsATokenFromAFile(t *testing.T) {
	path := writeTrace(t, 3, time.Second)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	permitd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer a-token" {
			t.Errorf("%s %s with %q", r.Method, r.URL.Path, got)
		}
		fmt.Fprint(w, "{}")
	}))
	defer permitd.Close()
	code, stdout, stderr := loadtest(t, "replay", "--trace", path, "--permitd", permitd.URL, "--token=@"+file, "--assert=allowed=3")
	if code != exitOK {
		t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestReplayIsInterrupted(t *testing.T) {
	path := writeTrace(t, 3, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"replay", "--trace", path, "--strategy=none", "--capacity=10000"}, strings.NewReader(""), &stdout, &stderr)
	if code != exitBroken || !strings.Contains(stdout.String(), "interrupted") {
		t.Errorf("exit %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
}

func TestCommandLine(t *testing.T) {
	path := writeTrace(t, 300, 2*time.Minute)
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	user := write("user.yaml", `
providers:
  acme:
    hold_ttl: 1m
    limits:
      rpm: {scope: pool, kind: rate, amount: 600, per: 1m, strict_window: true, slack: 3s}
      rpd: {scope: pool, kind: quota, amount: 100, per: day}
    pools: {big: {limits: {rpm: {per: 30s, amount: 500}, rpd: {amount: 200, per: week}}}}
    keys: {k_2c26b46b68ffc68ff99b453c1d304134: {pool: big}}
  other: {limits: {}}
`)
	bad := write("bad.yaml", "providers: {a: {}}\n")
	replay := func(args ...string) []string { return append([]string{"replay", "--trace", path}, args...) }
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"help", []string{"--help"}, exitOK, "replay", ""},
		{"help of replay", []string{"replay", "--help"}, exitOK, "--strategy", ""},
		{"nothing", nil, exitUsage, "", "expected"},
		{"the built-in trace", []string{"replay", "--print-policy", "--speed=60"}, exitOK, "scope: provider", ""},
		{"no such trace", []string{"replay", "--trace", "/nonexistent.csv"}, exitUsage, "", "/nonexistent.csv: no such file"},
		{"speed", replay("--speed=0"), exitUsage, "", "--speed must be above 0"},
		{"too fast", replay("--speed=100000"), exitUsage, "", "is less than 1ms: replay slower"},
		{"capacity", replay("--capacity=much"), exitUsage, "", "must be a positive number of tokens"},
		{"cost", replay("--cost=tokens=x"), exitUsage, "", "context, generated and cached"},
		{"cost of other units", replay("--cost=a=context"), exitUsage, "", "give --policies"},
		{"assertion", replay("--assert=userd>1"), exitUsage, "", `no figure "userd"`},
		{"bucket with slack", replay("--slack=1s"), exitUsage, "", "--slack goes with --mock=window"},
		{"burst too small", replay("--burst=10"), exitUsage, "", "permitd never grants more than 10 at once"},
		{"mock burst too small", replay("--mock-burst=10"), exitUsage, "", "the provider never admits more than 10 at once"},
		{"two on standard output", replay("--json=-", "--report=-"), exitUsage, "", "--json and --report can't both go to standard output"},
		{"no token file", replay("--permitd=http://x", "--token=@/nonexistent"), exitUsage, "", "--token (PERMITD_TOKEN): open /nonexistent: no such file"},
		{"empty token file", replay("--permitd=http://x", "--token=@"+write("empty", "\n")), exitUsage, "", "empty is empty"},
		{"contradiction", replay("--strategy=none", "--permitd=http://x"), exitUsage, "", "add it to --strategy"},
		{"no such strategy", replay("--strategy=luck"), exitUsage, "", `--strategy must be of permitd, none, split, redis_rate, not "luck"`},
		{"a strategy twice", replay("--strategy=none,none"), exitUsage, "", "--strategy has none twice"},
		{"replicas", replay("--replicas=0"), exitUsage, "", "--replicas must be from 1"},
		{"redis_rate without Redis", replay("--strategy=redis_rate"), exitUsage, "", "needs --redis-url"},
		{"Redis without redis_rate", replay("--redis-url=redis://x"), exitUsage, "", "add it to --strategy"},
		{"split with policies", replay("--strategy=permitd,split", "--policies", user), exitUsage, "", "know the built-in policy only"},
		{"accounts with policies", replay("--accounts=2", "--account-capacity=1x", "--policies", user), exitUsage, "", "the provider's accounts are the pools of its keys"},
		{"accounts without a limit", replay("--accounts=2"), exitUsage, "", "--accounts goes with --account-capacity"},
		{"fewer than no accounts", replay("--accounts=-1"), exitUsage, "", "--accounts must be at least 0"},
		{"account capacity too small", replay("--account-capacity=10"), exitUsage, "", "raise --capacity, --mock-burst or --account-capacity"},
		{"account burst too small", replay("--account-capacity=0.5x", "--mock-burst=2x", "--burst=150"), exitUsage, "", "(limit account-tokens): raise --account-capacity"},
		{"split too small", replay("--strategy=split", "--replicas=1000"), exitUsage, "", "lower --replicas"},
		{"duration", replay("--duration=-1s"), exitUsage, "", "--duration must be above 0s"},
		{"assertion of no strategy that is run", replay("--assert=split:used>1"), exitUsage, "", "add split to --strategy"},
		{"assertion of any of several strategies", replay("--strategy=none,split", "--assert=used>1"), exitUsage, "", "needs a strategy, such as none:used>1"},
		{"own policy with a limit of accounts", replay("--print-policy", "--capacity=60000", "--account-capacity=0.5x"), exitOK,
			"account-tokens: {scope: pool, kind: rate, unit: tokens, amount: 30000, per: 1s, burst: 15000}\n", ""},
		{"own policy with accounts", replay("--print-policy", "--capacity=60000", "--account-capacity=30000", "--accounts=1", "--keys=1"), exitOK,
			"burst: 15000}\n    keys:\n      " + limiter.KeyID("loadtest-key-0001") + ": {pool: account-1}\n", ""},
		{"own policy with accounts of a window", replay("--print-policy", "--mock=window", "--capacity=60000", "--account-capacity=0.5x"), exitOK,
			"account-tokens: {scope: pool, kind: rate, unit: tokens, amount: 30000, per: 1s, burst: 3000, strict_window: true, slack: 100ms}\n", ""},
		{"bad policies", replay("--policies", bad), exitUsage, "", "bad.yaml:1: a: limits is missing"},
		{"several providers", replay("--policies", user), exitUsage, "", "choose one by --provider (acme, other)"},
		{"no such provider", replay("--policies", user, "--provider=x"), exitUsage, "", "has no provider x; it has acme, other"},
		{"policy too fast", replay("--policies", user, "--provider=acme", "--per=1h", "--speed=60000"), exitUsage, "", "per 30s divided by the speed 60000"},
		{"own policy", replay("--print-policy", "--capacity=60000", "--per=1m", "--speed=120"), exitOK, `providers:
  replay:
    limits:
      tokens: {scope: provider, kind: rate, unit: tokens, amount: 60000, per: 500ms, burst: 30000}
`, ""},
		{"own policy of a window", replay("--print-policy", "--mock=window", "--capacity=60000", "--burst=600", "--slack=5ms"), exitOK,
			"amount: 60000, per: 1s, burst: 600, strict_window: true, slack: 5ms}\n", ""},
		{"user's policy", replay("--print-policy", "--policies", user, "--provider=acme"), exitOK, `providers:
  acme:
    hold_ttl: 1m
    limits:
      rpm: {scope: pool, kind: rate, amount: 600, per: 1s, strict_window: true, slack: 50ms}
      rpd: {scope: pool, kind: quota, amount: 100, per: day}
    pools:
      big:
        limits:
          rpm: {per: 500ms, amount: 500}
          rpd: {amount: 200, per: week}
    keys:
      k_2c26b46b68ffc68ff99b453c1d304134:
        pool: big
  other:
    limits: {}
`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := loadtest(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
		})
	}
}
