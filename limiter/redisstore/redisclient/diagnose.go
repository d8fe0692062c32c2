package redisclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Diagnose says why a Redis that calls fail at can't be used as the URL has it, and what to do: its host does not
// resolve, TLS is not as the URL says or fails, or what answers is something else. nil means that no such thing was
// found, so that it may just be away. It takes a few seconds at most, and the error has no password.
//
// All addresses of the URL are tried. That a host does not resolve counts only if none does.
func (c Config) Diagnose(ctx context.Context) error {
	targets := c.targets()
	found := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			if err := t.diagnose(ctx); err != nil {
				found[i] = fmt.Errorf("%s: %w", t.addr, err)
			}
		})
	}
	wg.Wait()
	var unknown error
	unresolved := 0
	for _, err := range found {
		var host *unresolvedError
		switch {
		case errors.As(err, &host):
			unresolved, unknown = unresolved+1, err
		case err != nil:
			return err
		}
	}
	if unresolved < len(targets) {
		return nil
	}
	return unknown
}

// stepTime bounds each step of a diagnosis: to connect, and to be answered.
const stepTime = time.Second

// target is a server that a URL names.
type target struct {
	network, addr      string
	tls                *tls.Config // nil: none
	username, password string
	setup              string // of the right server: standalone, sentinel or cluster
	primary            string // that sentinels are asked for; else ""
}

// targets are those of the URL, which was checked.
func (c Config) targets() (all []target) {
	switch c.Mode {
	case Sentinel:
		if o, err := c.sentinel(); err == nil {
			for _, addr := range o.SentinelAddrs {
				all = append(all, target{"tcp", addr, o.TLSConfig, o.SentinelUsername, o.SentinelPassword, "sentinel", o.MasterName})
			}
		}
	case Cluster:
		if o, err := c.cluster(); err == nil {
			for _, addr := range o.Addrs {
				all = append(all, target{"tcp", addr, o.TLSConfig, o.Username, o.Password, "cluster", ""})
			}
		}
	default:
		if o, err := redis.ParseURL(c.URL); err == nil {
			all = append(all, target{o.Network, o.Addr, o.TLSConfig, o.Username, o.Password, "standalone", ""})
		}
	}
	return all
}

func (t target) diagnose(ctx context.Context) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return unresolved(err)
	}
	defer conn.Close()
	if t.tls != nil {
		err = t.secured(ctx, conn)
	} else {
		err = t.plain(ctx, conn)
	}
	if err != nil {
		return err
	}
	client := redis.NewClient(t.options())
	defer client.Close()
	if info, err := Info(ctx, client); err == nil {
		if err := CheckSetup(info, t.setup); err != nil {
			return err
		}
	}
	if t.primary == "" {
		return nil
	}
	return t.named(ctx)
}

// dial connects, and gives all that is said over the connection the time of a step.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: stepTime}).DialContext(ctx, t.network, t.addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(stepTime))
	}
	return conn, err
}

func (t target) options() *redis.Options {
	return tuned(&redis.Options{Network: t.network, Addr: t.addr, TLSConfig: t.tls, Username: t.username, Password: t.password}, stepTime)
}

// named asks a sentinel for the primary, and diagnoses that.
func (t target) named(ctx context.Context) error {
	sentinel := redis.NewSentinelClient(t.options())
	defer sentinel.Close()
	addr, err := sentinel.GetMasterAddrByName(ctx, t.primary).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return fmt.Errorf("this sentinel knows no primary named %q: set master_name in --redis-url to what its configuration calls it", t.primary)
	case err != nil || len(addr) != 2:
		return nil
	}
	primary := target{network: "tcp", addr: net.JoinHostPort(addr[0], addr[1]), tls: t.tls, setup: "standalone"}
	if err := primary.diagnose(ctx); err != nil {
		return fmt.Errorf("the primary that it names, %s: %w", primary.addr, err)
	}
	return nil
}

// unresolvedError is that a host has no address.
type unresolvedError struct{ host, cause string }

func (e *unresolvedError) Error() string {
	return fmt.Sprintf("the host %q does not resolve (%s): is it spelled right, and known where permitd runs?", e.host, e.cause)
}

// unresolved returns an error if one of a dial is that a host has no address. Name servers that take too long say
// nothing about that.
func unresolved(err error) error {
	var dns *net.DNSError
	var addr *net.AddrError // an answer without an address
	switch {
	case errors.As(err, &dns) && !dns.IsTimeout:
		return &unresolvedError{dns.Name, dns.Err}
	case errors.As(err, &addr):
		return &unresolvedError{addr.Addr, addr.Err}
	}
	return nil
}
