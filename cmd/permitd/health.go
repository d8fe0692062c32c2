package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// healthTimeout is less than what container runtimes commonly give a probe.
const healthTimeout = 3 * time.Second

func (c *healthCommand) run(ctx context.Context, given settings, stdout, stderr io.Writer) int {
	target, err := c.target(given)
	if err != nil {
		return complain(stderr, err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if c.TLSCert != "" {
		if transport.TLSClientConfig, err = trusting(c.TLSCert); err != nil {
			return failed(stderr, fmt.Errorf("%s %q: must be a PEM file of certificates: %w", given.name("tls-cert"), c.TLSCert, err))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return failed(stderr, err)
	}
	resp, err := transport.RoundTrip(req) // no proxy, no redirects
	if err != nil {
		return failed(stderr, fmt.Errorf("not ready: GET %s: %w", target, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return failed(stderr, fmt.Errorf("not ready: GET %s: %s", target, resp.Status))
	}
	fmt.Fprintln(stdout, "ready")
	return exitOK
}

// target is the URL to ask.
func (c *healthCommand) target(given settings) (string, error) {
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", given.bad("url", c.URL, "must be a URL such as http://127.0.0.1:8080")
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/readyz"
		}
		return u.String(), nil
	}
	base, err := baseURL(c.Addr, c.TLSCert != "", given)
	return base + "/readyz", err
}

// baseURL is the URL of a permitd that listens on addr, as it is reached from the same machine.
func baseURL(addr string, tls bool, given settings) (string, error) {
	host, fault := splitAddr(addr)
	if fault != "" {
		return "", given.bad("addr", addr, fault)
	}
	_, port, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() { // it listens on every address
		host = map[bool]string{false: "127.0.0.1", true: "::1"}[ip.Is6()]
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// trusting accepts a server that shows one of the certificates in a PEM file, whatever names are in it, since permitd is
// asked by an address that its certificate need not name; and one whose certificate those vouch for in the usual way.
func trusting(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, reason(err)
	}
	roots := x509.NewCertPool()
	var known [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		roots.AddCert(cert)
		known = append(known, cert.Raw)
	}
	if len(known) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(state tls.ConnectionState) error {
			shown := state.PeerCertificates[0]
			for _, k := range known {
				if bytes.Equal(k, shown.Raw) {
					return nil
				}
			}
			between := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			_, err := shown.Verify(x509.VerifyOptions{DNSName: state.ServerName, Roots: roots, Intermediates: between})
			return err
		},
	}, nil
}
