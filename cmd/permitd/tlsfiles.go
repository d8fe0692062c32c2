package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// certificates hands out the certificate of two PEM files that are followed.
type certificates struct {
	*followed
	current atomic.Pointer[tls.Certificate]
}

func followCertificates(certPath, keyPath string, log *slog.Logger) (*certificates, error) {
	c := &certificates{}
	var err error
	c.followed, err = follow("certificate", log, c.take, certPath, keyPath)
	return c, err
}

func (c *certificates) take(texts [][]byte) error {
	for _, text := range texts {
		if err := whole(text); err != nil {
			return err
		}
	}
	cert, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return err
	}
	c.current.Store(&cert)
	return nil
}

// whole returns an error if a block in a PEM file can't be read, as the last of one that is cut off. Without it the
// rest would do, which may be part of a chain.
func whole(text []byte) error {
	begun, blocks := bytes.Count(text, []byte("-----BEGIN ")), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
	}
	if blocks < begun {
		return fmt.Errorf("of %d blocks in a PEM file %d can be read: it may be cut off", begun, blocks)
	}
	return nil
}

// get is a tls.Config's GetCertificate.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
