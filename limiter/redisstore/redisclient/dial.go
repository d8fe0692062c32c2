package redisclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialError is why no connection was had. It does not unwrap: go-redis passes on what errors of new connections unwrap to.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }

// NoConnection reports whether a call ended with an error because no connection was had, so that nothing was sent.
func NoConnection(err error) bool {
	var dial *dialError
	return errors.As(err, &dial)
}

// dialer connects, by TLS if there is a configuration for it. In place of a connection that is not had it returns one that
// fails: go-redis counts failures to dial, and after as many as its pool is large it tries only once a second, for which
// a Redis that is back would be left alone.
func dialer(tls *tls.Config, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if tls != nil { // reading whom to trust takes longer than a connection may
		tls.RootCAs, _ = x509.SystemCertPool() // nil: it is read later
	}
	dial := redis.NewDialer(&redis.Options{TLSConfig: tls, DialTimeout: timeout})
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return failed{&dialError{err}}, nil
		}
		return conn, nil
	}
}

// failed is a connection that is none.
type failed struct{ err *dialError }

func (c failed) Read([]byte) (int, error)         { return 0, c.err }
func (c failed) Write([]byte) (int, error)        { return 0, c.err }
func (c failed) Close() error                     { return nil }
func (c failed) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c failed) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c failed) SetDeadline(time.Time) error      { return nil }
func (c failed) SetReadDeadline(time.Time) error  { return nil }
func (c failed) SetWriteDeadline(time.Time) error { return nil }
