package redisclient

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

func TestMain(m *testing.M) {
	redistest.Trust()
	goleak.VerifyTestMain(afterTests{m})
}

// afterTests removes what the tests shared.
type afterTests struct{ *testing.M }

func (m afterTests) Run() int {
	defer redistest.Stop()
	return m.M.Run()
}

// diagnosed checks what is found wrong; "" is nothing.
func diagnosed(t *testing.T, c Config, want string) {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	err := c.Diagnose(t.Context())
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s %s: %v, want %q", c.Mode, c.URL, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n")) {
		t.Errorf("%v", err)
	}
}

func TestTLSFaults(t *testing.T) {
	port, settings := redistest.TLS(t)
	server := redistest.Start(t, settings...)
	strictPort, settings := redistest.TLS(t)
	redistest.Start(t, append(settings, "--tls-auth-clients", "yes")...)
	olderPort, settings := redistest.TLS(t)
	redistest.Start(t, append(settings, "--tls-auth-clients", "yes", "--tls-protocols", "TLSv1.2")...)
	optionalPort, settings := redistest.TLS(t)
	redistest.Start(t, append(settings, "--tls-auth-clients", "optional")...)
	untrustedPort, settings := redistest.UntrustedTLS(t)
	redistest.Start(t, settings...)

	diagnosed(t, Config{URL: "rediss://u:secret@127.0.0.1:" + port}, "")
	diagnosed(t, Config{URL: "rediss://127.0.0.1:" + optionalPort}, "")
	diagnosed(t, Config{URL: "rediss://localhost:" + port}, "give the host in --redis-url by a name that the certificate has")
	diagnosed(t, Config{URL: "rediss://localhost:" + port + "?skip_verify=true"}, "")
	diagnosed(t, Config{URL: "rediss://127.0.0.1:" + untrustedPort}, "SSL_CERT_FILE")
	diagnosed(t, Config{URL: "rediss://127.0.0.1:" + strictPort}, "wants a certificate of its clients")
	diagnosed(t, Config{URL: "rediss://127.0.0.1:" + olderPort}, "wants a certificate of its clients")
	diagnosed(t, Config{URL: "rediss://u:secret@" + server.Addr()}, "it does not speak TLS: write redis://")
	diagnosed(t, Config{URL: "redis://u:secret@127.0.0.1:" + port}, "it speaks TLS: write rediss://")
	diagnosed(t, Config{URL: "redis://127.0.0.1:" + strictPort}, "it speaks TLS: write rediss://")
	for _, mode := range []Mode{Sentinel, Cluster} {
		name := map[Mode]string{Sentinel: "?master_name=m"}[mode]
		diagnosed(t, Config{Mode: mode, URL: "rediss://" + server.Addr() + name}, "it does not speak TLS")
		diagnosed(t, Config{Mode: mode, URL: "redis://127.0.0.1:" + port + name}, "it speaks TLS")
	}
}

// TestOtherServers: what answers is no Redis, or one that is set up otherwise.
func TestOtherServers(t *testing.T) {
	single, sentinel, cluster := redistest.Start(t), redistest.StartSentinel(t), redistest.Start(t, "--cluster-enabled", "yes")
	noName, _, _ := strings.Cut(sentinel.URL(), "?")
	diagnosed(t, Config{URL: single.URL()}, "")
	diagnosed(t, Config{URL: cluster.URL()}, "set --redis-mode to cluster")
	diagnosed(t, Config{URL: noName}, "set --redis-mode to sentinel")
	diagnosed(t, Config{Mode: Sentinel, URL: sentinel.URL()}, "")
	diagnosed(t, Config{Mode: Sentinel, URL: single.URL() + "?master_name=m"}, "set --redis-mode to single")
	diagnosed(t, Config{Mode: Sentinel, URL: cluster.URL() + "?master_name=m"}, "set --redis-mode to cluster")
	diagnosed(t, Config{Mode: Sentinel, URL: noName + "?master_name=other"}, `knows no primary named "other"`)
	diagnosed(t, Config{Mode: Cluster, URL: cluster.URL()}, "")
	diagnosed(t, Config{Mode: Cluster, URL: single.URL()}, "set --redis-mode to single")
	diagnosed(t, Config{Mode: Cluster, URL: noName}, "set --redis-mode to sentinel")

	web := answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	diagnosed(t, Config{URL: "redis://" + web}, "is not a Redis")
	diagnosed(t, Config{URL: "rediss://" + web}, "is not a Redis")
	diagnosed(t, Config{URL: "redis://" + answering(t, "-DENIED Redis is running in protected mode because\r\n")}, "protected-mode")
}

// TestSetupByOtherNames: Valkey has another name for it, and some say nothing.
func TestSetupByOtherNames(t *testing.T) {
	for _, tt := range []struct {
		info map[string]string
		want string
	}{
		{map[string]string{"server_mode": "cluster"}, "set --redis-mode to cluster"},
		{map[string]string{"server_mode": "sentinel"}, "set --redis-mode to sentinel"},
		{map[string]string{"redis_mode": "cluster"}, "set --redis-mode to cluster"},
		{map[string]string{"server_mode": "standalone"}, ""},
		{map[string]string{}, ""},
	} {
		err := CheckSetup(tt.info, "standalone")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v: %v", tt.info, err)
		}
	}
}

// TestAway: what may be back later is no fault of the URL.
func TestAway(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	for _, scheme := range []string{"redis://", "rediss://"} {
		diagnosed(t, Config{URL: scheme + server.Addr()}, "")
		diagnosed(t, Config{URL: scheme + answering(t, "")}, "") // as a balancer with nothing behind it
	}
	diagnosed(t, Config{URL: "unix://" + filepath.Join(t.TempDir(), "missing")}, "")
	diagnosed(t, Config{Mode: Cluster, URL: "redis://" + server.Addr() + "?addr=" + unknownHost + ":6379"}, "") // one of two resolves
	locked := redistest.Start(t)
	locked.Do("config", "set", "requirepass", "x")
	diagnosed(t, Config{URL: locked.URL()}, "") // which calls say themselves
	paused := redistest.Start(t)
	paused.Pause()
	defer paused.Resume()
	began := time.Now()
	diagnosed(t, Config{URL: paused.URL()}, "")
	if took := time.Since(began); took > 10*stepTime {
		t.Errorf("took %v", took)
	}
}

// unknownHost is no name of a host, which resolvers know without asking name servers.
const unknownHost = "redis..example"

func TestUnknownHost(t *testing.T) {
	for _, c := range []Config{
		{URL: "redis://u:secret@" + unknownHost},
		{URL: "rediss://" + unknownHost + ":6380"},
		{Mode: Sentinel, URL: "redis://" + unknownHost + "?master_name=m&addr=" + unknownHost + ":1"},
		{Mode: Cluster, URL: "redis://" + unknownHost},
	} {
		diagnosed(t, c, `the host "`+unknownHost+`" does not resolve`)
	}
	diagnosed(t, Config{URL: "redis://redis.onion"}, `does not resolve`) // has no address (RFC 7686)
}

func TestSlowNameServers(t *testing.T) {
	err := &net.OpError{Op: "dial", Err: &net.DNSError{Name: "redis", Err: "i/o timeout", IsTimeout: true}}
	if unresolved(err) != nil {
		t.Error("taken for an unknown host")
	}
}

// answering is the address of a server that answers whatever comes first with a text, or with nothing, and ends the
// connection.
func answering(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(text))
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
