package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates hands out the certificate of two PEM files, and follows the files when they change. Files that can't be
// used leave the certificate as it was.
type certificates struct {
	certPath, keyPath string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]stamp // of the files when they were last read
	looked  time.Time
}

// stamp tells one version of a file from the next.
type stamp struct {
	modified time.Time
	size     int64
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

func loadCertificates(certPath, keyPath string, log *slog.Logger) (*certificates, error) {
	c := &certificates{certPath: certPath, keyPath: keyPath, log: log, now: time.Now}
	c.looked, c.seen = c.now(), c.stamps()
	cert, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		return nil, err
	}
	c.current = &cert
	return c, nil
}

// get is a tls.Config's GetCertificate.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		c.refresh()
	}
	return c.current, nil
}

// refresh reads the files if they changed. Each version is tried once, so that a bad one is logged once.
func (c *certificates) refresh() {
	stamps := c.stamps() // before reading: a change in between is seen next time
	if stamps == c.seen {
		return
	}
	c.seen = stamps
	cert, err := tls.LoadX509KeyPair(c.certPath, c.keyPath)
	if err != nil {
		c.log.Error("the changed TLS files can't be used; the certificate stays as it was", "cert", c.certPath, "key", c.keyPath, "error", err)
		return
	}
	c.current = &cert
	c.log.Info("TLS certificate read again", "cert", c.certPath)
}

func (c *certificates) stamps() (s [2]stamp) {
	for i, path := range []string{c.certPath, c.keyPath} {
		if info, err := os.Stat(path); err == nil {
			s[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return s
}
