package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes PEM files of a self-signed certificate for name.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issue(t, name, certFile, keyFile)
	return certFile, keyFile
}

// issue writes a new certificate over the files.
func issue(t *testing.T, name, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name + ".example"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is the name in the certificate that a new connection is shown, and the protocol spoken.
func (i *instance) shown() (name, proto string) {
	i.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(i.url + "/readyz")
	if err != nil {
		i.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.TLS.PeerCertificates[0].Subject.CommonName, resp.Proto
}

// TestTLS: the certificate is followed without a restart; one that can't be used changes nothing.
func TestTLS(t *testing.T) {
	cert, key := certificate(t, "first")
	i := start(t, "--tls-cert", cert, "--tls-key", key)
	if !strings.HasPrefix(i.url, "https://127.0.0.1:") {
		t.Errorf("listens on %s", i.url)
	}
	if name, proto := i.shown(); name != "first" || proto != "HTTP/2.0" {
		t.Errorf("%s over %s", name, proto)
	}
	if code, stdout, stderr := call(t, "", "health", "--addr", i.addr(), "--tls-cert", cert); code != 0 || stdout != "ready\n" {
		t.Errorf("health: exit %d, %q", code, stderr)
	}
	other, _ := certificate(t, "other")
	if code, _, stderr := call(t, "", "health", "--addr", i.addr(), "--tls-cert", other); code != 1 || !strings.Contains(stderr, "certificate") {
		t.Errorf("health, trusting another certificate: exit %d, %q", code, stderr)
	}
	if code, _, stderr := call(t, "", "health", "--addr", i.addr()); code != 1 {
		t.Errorf("health over http: exit %d, %q", code, stderr)
	}
	if code, _, stderr := call(t, "", "health", "--addr", i.addr(), "--tls-cert", key); code != 1 || !strings.Contains(stderr, "no certificate in it") {
		t.Errorf("health, trusting a key: exit %d, %q", code, stderr)
	}

	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		if name, _ := i.shown(); name != "first" {
			t.Fatalf("shows %s", name)
		}
		return strings.Contains(i.log.String(), "can't be used")
	})
	issue(t, "second", cert, key)
	eventually(t, func() bool { name, _ := i.shown(); return name == "second" })
}

// TestCertificatesAreReadWhenTheyChange goes through the schedule look by look.
func TestCertificatesAreReadWhenTheyChange(t *testing.T) {
	cert, key := certificate(t, "first")
	log := &buffer{}
	c, err := followCertificates(cert, key, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(want string, logged int) {
		t.Helper()
		c.look(t.Context(), false)
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(got.Certificate[0])
		if err != nil || leaf.Subject.CommonName != want {
			t.Errorf("shows %s, want %s: %v", leaf.Subject.CommonName, want, err)
		}
		if n := strings.Count(log.String(), "can't be used"); n != logged {
			t.Errorf("logged %d failures, want %d", n, logged)
		}
		if c.failed.Load() && logged == 0 {
			t.Error("shows a failure that was none")
		}
	}
	issue(t, "second", cert, key)
	check("first", 0) // it may still be being written
	check("second", 0)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	check("second", 0)
	check("second", 1)
	check("second", 1) // the same bad state is not told again
	if !c.failed.Load() {
		t.Error("does not show the failure")
	}
	issue(t, "third", cert, key)
	check("second", 1)
	check("third", 1)
	if c.failed.Load() {
		t.Error("shows a failure that is over")
	}
	chain, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, append(chain, chain[:len(chain)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	check("third", 1)
	check("third", 2) // a chain that is cut off
}
