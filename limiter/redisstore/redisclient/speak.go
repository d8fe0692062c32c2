package redisclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// speech is what a server was found to speak.
type speech int

const (
	nothing speech = iota // it closed the connection, or did not answer in time
	resp                  // as Redis does
	tlsOnly               // TLS, and it was not spoken to in TLS
	other
)

// ping says hello as Redis knows it, and reads what comes back.
func ping(conn net.Conn) (is speech, said string) {
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return nothing, ""
	}
	buf := make([]byte, 256)
	n, _ := conn.Read(buf)
	if n == 0 {
		return nothing, ""
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\r\n")
	switch {
	case line != "" && (line[0] == '+' || line[0] == '-'):
		return resp, line
	case bytes.HasPrefix(buf[:n], []byte{0x15, 0x03}): // an alert
		return tlsOnly, ""
	}
	return other, line
}

// judged is what to do about what a server said.
func judged(is speech, said string) error {
	switch {
	case is == tlsOnly:
		return errors.New("it speaks TLS: write rediss:// in place of redis:// in --redis-url")
	case is == other:
		return errors.New("what answers there is not a Redis: are host and port in --redis-url right?")
	case is == resp && strings.HasPrefix(said, "-DENIED"):
		return errors.New("it takes no connections from other machines (protected-mode): give its users passwords, or set protected-mode to no")
	}
	return nil
}

// plain says what is wrong with a server that is to be spoken to without TLS.
func (t target) plain(ctx context.Context, conn net.Conn) error {
	is, said := ping(conn)
	if is == nothing && t.greetsInTLS(ctx) {
		is = tlsOnly
	}
	return judged(is, said)
}

// greetsInTLS reports whether a server takes part in a handshake.
func (t target) greetsInTLS(ctx context.Context) bool {
	conn, err := t.dial(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) // nothing is sent
	return err == nil || isAlert(err)
}

// secured says what is wrong with a server that is to be spoken to in TLS.
func (t target) secured(ctx context.Context, conn net.Conn) error {
	asked := false // for a certificate
	config := t.tls.Clone()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &tls.Certificate{}, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return t.noHandshake(ctx, err, asked)
	}
	is, said := ping(secure)
	if is == nothing && asked && t.wantsCertificate(ctx) {
		return errNoCertificate
	}
	return judged(is, said)
}

var errNoCertificate = errors.New("it wants a certificate of its clients, and permitd shows none: set tls-auth-clients to no or optional there")

// wantsCertificate reports whether a server refuses a client without one, which in TLS 1.3 it says after the handshake.
// Nothing is sent, since that could cost what it says.
func (t target) wantsCertificate(ctx context.Context) bool {
	conn, err := t.dial(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	_, err = tls.Client(conn, t.tls).Read(make([]byte, 1))
	return isAlert(err)
}

// noHandshake says why there was none.
func (t target) noHandshake(ctx context.Context, err error, asked bool) error {
	var shown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &shown):
		return distrusted(shown.Err)
	case isAlert(err) && asked:
		return errNoCertificate
	case isAlert(err):
		return fmt.Errorf("it refuses TLS as permitd speaks it, 1.2 or later: %w", errors.Unwrap(err))
	}
	return t.withoutTLS(ctx, err)
}

// withoutTLS looks at what a server speaks with which there was no handshake.
func (t target) withoutTLS(ctx context.Context, failure error) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil
	}
	defer conn.Close()
	is, said := ping(conn)
	var record tls.RecordHeaderError
	switch {
	case is == resp:
		return errors.New("it does not speak TLS: write redis:// in place of rediss:// in --redis-url, or give its TLS port")
	case is == other || errors.As(failure, &record):
		return judged(other, said)
	}
	return nil
}

// distrusted is what to do about a certificate that is not accepted.
func distrusted(err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	advice := "mend that at the Redis"
	switch {
	case errors.As(err, &authority):
		advice = "name a file with the certificate of its authority in the environment variable SSL_CERT_FILE"
	case errors.As(err, &host):
		advice = "give the host in --redis-url by a name that the certificate has"
	}
	return fmt.Errorf("its certificate is not accepted: %w: %s", err, advice)
}

// isAlert reports whether a handshake ended because the server refused it.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
