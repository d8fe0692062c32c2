package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority is who signs the certificates of this process.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var ownAuthority = sync.OnceValues(func() (*authority, error) {
	dir, err := os.MkdirTemp("", "redistest-ca")
	if err != nil {
		return nil, err
	}
	return newAuthority(dir)
})

func newAuthority(dir string) (a *authority, err error) {
	a = &authority{dir: dir, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	return a, a.write("ca", a.cert, a.key)
}

// write signs a certificate and writes it, and its key, to files.
func (a *authority) write(name string, cert *x509.Certificate, key *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for kind, block := range map[string]*pem.Block{
		"crt": {Type: "CERTIFICATE", Bytes: der},
		"key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.file(name, kind), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (a *authority) file(name, kind string) string { return filepath.Join(a.dir, name+"."+kind) }

// Trust has this process trust the certificates of servers that [TLS] is for. Call it from TestMain, since what is trusted
// is read once.
func Trust() {
	a, err := ownAuthority()
	if err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", a.file("ca", "crt"))
}

// TLS are settings by which a server of [Start] speaks TLS on one more port.
func TLS(t testing.TB) (port string, settings []string) {
	t.Helper()
	a, err := ownAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a.settings(t)
}

// UntrustedTLS is TLS with a certificate of an authority that nobody trusts.
func UntrustedTLS(t testing.TB) (port string, settings []string) {
	t.Helper()
	a, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a.settings(t)
}

func (a *authority) settings(t testing.TB) (port string, settings []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	port = itoa(freePort(t))
	if err := a.write(port, cert, key); err != nil {
		t.Fatal(err)
	}
	return port, []string{"--tls-port", port, "--tls-cert-file", a.file(port, "crt"), "--tls-key-file", a.file(port, "key"),
		"--tls-ca-cert-file", a.file("ca", "crt"), "--tls-auth-clients", "no"}
}
