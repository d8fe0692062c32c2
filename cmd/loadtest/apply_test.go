package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// servePermitd is a permitd with a token of each of two roles, that has no policy.
func servePermitd(t *testing.T, before func(http.ResponseWriter, *http.Request) bool) (string, *limiter.Coordinator) {
	t.Helper()
	list, err := api.ParseTokens("operator:ann:an-operators-token,permits:replicas:a-replicas-token")
	if err != nil {
		t.Fatal(err)
	}
	c := limiter.New(memstore.New(memstore.Options{}))
	server := api.New(c, api.Options{Tokens: api.NewTokens(list)})
	server.MarkReady()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			server.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return front.URL, c
}

func TestReplayApplies(t *testing.T) {
	policies := filepath.Join(t.TempDir(), "p.yaml")
	key := limiter.KeyID("loadtest-key-0001")
	if err := os.WriteFile(policies, []byte(`
providers:
  acme:
    limits: {tpm: {scope: key, kind: rate, unit: tokens, amount: 60000, per: 1m}}
    pools: {big: {label: Big}}
    keys: {`+key+`: {pool: big, limits: {tpm: {amount: 120000}}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	away := 2
	url, c := servePermitd(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || away == 0 {
			return false
		}
		away--
		w.WriteHeader(http.StatusServiceUnavailable) // as a load balancer whose workers are only starting
		return true
	})
	args := []string{"replay", "--trace", writeTrace(t, 20, time.Second), "--capacity=100000", "--policies", policies, "--permitd", url, "--token=an-operators-token", "--assert=served=20", "--assert=failed=0"}
	code, _, stderr := loadtest(t, append(args, "--apply")...)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	entry, err := c.Entry(t.Context(), limiter.DocID{Provider: "acme", Kind: limiter.KeyEntry, Name: key})
	if err != nil || !strings.Contains(string(entry.Entry.Body()), `"amount":120000`) {
		t.Errorf("%v, %+v", err, entry)
	}
	history, _, err := c.History(t.Context(), "acme", 0, 10)
	if err != nil || !strings.Contains(fmt.Sprintf("%+v", history), "loadtest") {
		t.Errorf("%v, %+v", err, history)
	}
	// What another replay is made for is said to differ.
	if _, _, stderr := loadtest(t, append(args, "--speed=30")...); !strings.Contains(stderr, "has another policy for acme than this load is made for: let --apply put it in force") {
		t.Error(stderr)
	}
}

func TestReplayCannotApply(t *testing.T) {
	url, _ := servePermitd(t, nil)
	other, _ := servePermitd(t, nil)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	trace := writeTrace(t, 3, time.Second)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--permitd", url, "--token=a-replicas-token"}, exitBroken, "answered 403 Forbidden: "},
		{[]string{"--permitd", url, "--token=a-replicas-token"}, exitBroken, "; --token (PERMITD_TOKEN) must be of role operator"},
		{[]string{"--permitd", url}, exitBroken, "; --token (PERMITD_TOKEN) must be of role operator"},
		{[]string{"--permitd", elsewhere.URL}, exitBroken, "the first --permitd must be where policies are written"},
		{[]string{"--permitd=http://127.0.0.1:1"}, exitBroken, "--apply: replay: no permitd answers at http://127.0.0.1:1/"},
		{[]string{"--permitd", url, "--permitd", other, "--token=an-operators-token"}, exitBroken, "shares no Redis with the first --permitd"},
		{nil, exitUsage, "--apply goes with --permitd"},
	} {
		code, _, stderr := loadtest(t, append([]string{"replay", "--trace", trace, "--capacity=10000", "--apply"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit %d, %s", tt.args, code, stderr)
		}
	}
}

func TestRunAppliesToEachProvider(t *testing.T) {
	url, c := servePermitd(t, nil)
	code, _, stderr := loadtest(t, "run", "--stages=200ms:50", "--context=10", "--generated=10", "--capacity=1000000", "--provider=acme,other", "--accounts=2", "--account-capacity=0.5x",
		"--permitd", url, "--token=an-operators-token", "--apply", "--assert=failed=0", "--assert=served>0", "--assert=gave_up=0")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	for _, provider := range []string{"acme", "other"} {
		keys, _, err := c.Entries(t.Context(), provider, limiter.KeyEntry, "", 10)
		if err != nil || len(keys) == 0 {
			t.Errorf("%s: %v, %d keys", provider, err, len(keys))
		}
	}
}
