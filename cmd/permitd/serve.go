package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// finishTime is what requests in flight get when permitd stops.
const finishTime = 10 * time.Second

func (c *serveCommand) run(ctx context.Context, given settings, stdout, stderr io.Writer) int {
	cfg, err := c.config(given, stderr)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			complain(stderr, errors.New(strings.TrimSuffix(line, "\n")))
		}
		return exitUsage
	}
	if err := serve(ctx, cfg, stdout); err != nil {
		return failed(stderr, err)
	}
	return exitOK
}

// serve runs permitd until ctx ends, and then drains it.
func serve(ctx context.Context, cfg *config, stdout io.Writer) error {
	store, end, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer end()
	coordinator := limiter.New(store)
	if err := seed(ctx, coordinator, cfg.policies, cfg.log); err != nil {
		return err
	}
	l, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return fmt.Errorf("can't listen on %s: %w", cfg.addr, listenReason(err))
	}
	opts, scheme := api.Options{Logger: cfg.log, LoopbackOnly: true, Version: moduleVersion()}, "http"
	if cfg.certificates != nil {
		opts.TLS, scheme = &tls.Config{GetCertificate: cfg.certificates.get}, "https"
	}
	server := api.New(coordinator, opts)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	server.MarkReady()
	fmt.Fprintf(stdout, "permitd listening on %s://%s\n", scheme, l.Addr())

	select {
	case err := <-ended:
		return fmt.Errorf("stopped serving: %w", err)
	case <-ctx.Done():
	}
	drain(server, cfg.drainDelay, cfg.log)
	return <-ended
}

// drain stops a server so that no request is lost: load balancers learn that it stops before it does.
func drain(server *api.Server, delay time.Duration, log *slog.Logger) {
	log.Info("stopping", "drain_delay", delay)
	server.MarkStopping()
	time.Sleep(delay)
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Warn("cut off requests that did not finish in time", "waited", finishTime)
	}
	log.Info("stopped")
}

// seed stores policies of providers that the store does not know.
func seed(ctx context.Context, c *limiter.Coordinator, f *policyfile.File, log *slog.Logger) error {
	for _, w := range f.Warnings {
		log.Warn("policies", "file", w.File, "line", w.Line, "warning", w.Message)
	}
	for _, docs := range f.Providers {
		result, err := c.Seed(ctx, docs)
		if err != nil {
			return fmt.Errorf("store the policies of %s: %w", docs.Provider, err)
		}
		switch result {
		case limiter.SeedStored:
			log.Info("policy stored", "provider", docs.Provider, "limits", len(docs.Policy.Limits), "entries", len(docs.Entries))
		case limiter.SeedDiffers:
			log.Warn("the stored policy differs from the file and stays in force", "provider", docs.Provider)
		}
	}
	return nil
}

// listenReason is why a listener could not be had, without what the message says anyway.
func listenReason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
