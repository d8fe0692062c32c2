package main

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestMisdirected: with a Redis that will never answer as it is asked, permitd does not start, and says in one line
// what to do.
func TestMisdirected(t *testing.T) {
	port, settings := redistest.UntrustedTLS(t)
	server, cluster, sentinel := redistest.Start(t, settings...), redistest.Start(t, "--cluster-enabled", "yes"), redistest.StartSentinel(t)
	ofSentinel, _, _ := strings.Cut(sentinel.URL(), "?")
	for name, tt := range map[string]struct{ mode, url, want string }{
		"unknown host":                {"single", "redis://u:secret@redis..example", `the host "redis..example" does not resolve`},
		"untrusted":                   {"single", "rediss://u:secret@127.0.0.1:" + port, "SSL_CERT_FILE"},
		"TLS without TLS":             {"single", "redis://u:secret@127.0.0.1:" + port, "write rediss://"},
		"no TLS with TLS":             {"single", "rediss://u:secret@" + server.Addr(), "write redis://"},
		"cluster as single":           {"single", cluster.URL(), "set --redis-mode to cluster"},
		"sentinel as single":          {"single", ofSentinel, "set --redis-mode to sentinel"},
		"single as cluster":           {"cluster", server.URL(), "set --redis-mode to single"},
		"sentinel as cluster":         {"cluster", ofSentinel, "set --redis-mode to sentinel"},
		"single as sentinel":          {"sentinel", server.URL() + "?master_name=m", "set --redis-mode to single"},
		"cluster as sentinel":         {"sentinel", cluster.URL() + "?master_name=m", "set --redis-mode to cluster"},
		"primary that nobody knows":   {"sentinel", ofSentinel + "?master_name=other", `no primary named "other"`},
		"sentinels with unknown host": {"sentinel", "redis://redis..example?master_name=m", "does not resolve"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call(t, "", "--addr", "127.0.0.1:0", "--log-level", "error", "--redis-mode", tt.mode, "--redis-url", tt.url)
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) || strings.Contains(stderr, "secret") {
				t.Errorf("exit %d, %q, %s\nwant %s", code, stdout, stderr, tt.want)
			}
		})
	}
}

// TestWholeLimitIsWarnedOf: who starts without Redis and does not know how many instances there are takes all of a
// limit.
func TestWholeLimitIsWarnedOf(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	const warning = "each instance grants the whole limit"
	if i := start(t, "--redis-url", server.URL()); strings.Count(i.log.String(), warning) != 1 {
		t.Errorf("does not warn: %s", i.log)
	}
	if i := start(t, "--redis-url", server.URL(), "--min-instances", "1"); strings.Contains(i.log.String(), warning) {
		t.Errorf("warns who knows: %s", i.log)
	}
	t.Setenv("PERMITD_MIN_INSTANCES", "2")
	if i := start(t, "--redis-url", server.URL()); strings.Contains(i.log.String(), warning) {
		t.Errorf("warns who knows: %s", i.log)
	}
}
