package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore"
)

// faces are what permitd shows: a server, and beside it one for all but permits, if it has an address of its own.
type faces []*face

type face struct {
	title    string
	listener net.Listener
	server   *api.Server
	scheme   string
}

// open listens. Nothing is answered yet.
func open(cfg *config, c *limiter.Coordinator, store limiter.Store, throttle api.Throttle) (faces, error) {
	all := []struct {
		title, addr string
		surface     api.Surface
	}{{"permitd", cfg.addr, api.Everything}}
	if cfg.adminAddr != "" {
		all[0].surface = api.PermitsOnly
		all = append(all, all[0])
		all[1].title, all[1].addr, all[1].surface = "permitd admin", cfg.adminAddr, api.AllButPermits
	}
	var fs faces
	metrics := api.NewMetrics(moduleVersion(), c)
	if s, ok := store.(*redisstore.Store); ok {
		metrics.WatchNodes(func() map[string]api.Node {
			now := map[string]api.Node{}
			for _, n := range s.Nodes() {
				now[n.Addr] = api.Node{Up: n.Up, Memory: n.Memory}
			}
			return now
		})
	}
	metrics.WatchFiles(func() map[string]bool {
		failed := map[string]bool{}
		for _, f := range cfg.files() {
			failed[f.name] = f.failed.Load()
		}
		return failed
	})
	for _, one := range all {
		l, err := net.Listen("tcp", one.addr)
		if err != nil {
			for _, f := range fs {
				f.listener.Close()
			}
			return nil, fmt.Errorf("can't listen on %s: %w", one.addr, listenReason(err))
		}
		opts, scheme := api.Options{
			Logger:         cfg.log,
			LoopbackOnly:   cfg.guarded(one.addr),
			Tokens:         cfg.tokens,
			Throttle:       throttle,
			TrustedProxies: cfg.proxies,
			Surface:        one.surface,
			Version:        moduleVersion(),
			IdleTimeout:    cfg.idleTimeout,
			MaxConnections: cfg.connections,
			Metrics:        metrics,
		}, "http"
		if cfg.certificates != nil {
			opts.TLS, scheme = &tls.Config{GetCertificate: cfg.certificates.get}, "https"
		}
		fs = append(fs, &face{one.title, l, api.New(c, opts), scheme})
	}
	return fs, nil
}

// serve answers until ctx ends, and then drains.
func (fs faces) serve(ctx context.Context, cfg *config, stdout io.Writer) error {
	ended := make(chan error, len(fs))
	for _, f := range fs {
		go func() { ended <- f.server.Serve(f.listener) }()
		f.server.MarkReady()
	}
	for _, f := range fs {
		fmt.Fprintf(stdout, "%s listening on %s://%s\n", f.title, f.scheme, f.listener.Addr())
	}
	var failure error
	left := len(fs)
	select {
	case err := <-ended:
		left--
		failure = fmt.Errorf("stopped serving: %w", err)
		fs.shutdown(cfg.log)
	case <-ctx.Done():
		fs.drain(cfg.drainDelay, cfg.log)
	}
	for range left {
		failure = errors.Join(failure, <-ended)
	}
	return failure
}

// drain stops all servers so that no request is lost: load balancers learn that they stop before they do.
func (fs faces) drain(delay time.Duration, log *slog.Logger) {
	log.Info("stopping", "drain_delay", delay)
	for _, f := range fs {
		f.server.MarkStopping()
	}
	time.Sleep(delay)
	fs.shutdown(log)
	log.Info("stopped")
}

// shutdown gives all that is in flight, and what still comes on open connections, the same time to finish.
func (fs faces) shutdown(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(func() {
			if err := f.server.Shutdown(ctx); err != nil {
				log.Warn("cut off requests that did not finish in time", "waited", finishTime)
			}
		})
	}
	wg.Wait()
}

// listenReason is why a listener could not be had, without what the message says anyway.
func listenReason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
