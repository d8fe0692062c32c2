package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// finishTime is what requests in flight get when permitd stops.
const finishTime = 10 * time.Second

// leaveTime is what there is, after that, to charge in Redis what was granted without it.
const leaveTime = time.Second

func (c *serveCommand) run(ctx context.Context, given settings, stdout, stderr io.Writer) int {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	cfg, err := c.config(given, stderr)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			complain(stderr, errors.New(strings.TrimSuffix(line, "\n")))
		}
		return exitUsage
	}
	if err := serve(ctx, cfg, hangup, stdout); err != nil {
		return failed(stderr, err)
	}
	return exitOK
}

// serve runs permitd until ctx ends, and then drains it. A hangup has files read again.
func serve(ctx context.Context, cfg *config, hangup <-chan os.Signal, stdout io.Writer) error {
	cfg.warn(cfg.log)
	for _, w := range cfg.policies.Warnings {
		cfg.log.Warn("policies", "file", w.File, "line", w.Line, "warning", w.Message)
	}
	cfg.memory.warn(cfg.log)
	memory := limiter.NewMemory(cfg.memory.records)
	store, end, err := openStore(cfg, memory)
	if err != nil {
		return err
	}
	defer end()
	options := []limiter.Option{limiter.Within(memory), limiter.MinInstances(cfg.minInstances), limiter.Log(cfg.log)}
	if cfg.redis.URL != "" { // a store in memory is never away
		options = append(options, limiter.StandIn(standIn(memory)))
	}
	coordinator := limiter.New(store, options...)
	joined, err := joinAtStart(ctx, cfg, store, coordinator)
	if err != nil {
		return err
	}
	throttle, end, err := openThrottle(ctx, cfg)
	if err != nil {
		return err
	}
	defer end()
	all, err := open(cfg, coordinator, store, throttle)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // until the last request is answered
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { cfg.memory.collect(serving, memory) })
	beside.Go(func() {
		if joined || joinLater(serving, cfg, store, coordinator) {
			coordinator.Attend(serving, moduleVersion())
		}
	})
	for _, f := range cfg.files() {
		beside.Go(func() { f.run(serving) })
	}
	beside.Go(func() { cfg.readAgain(serving, hangup) })
	err = all.serve(ctx, cfg, stdout)
	leaving, left := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer left()
	coordinator.Leave(leaving)
	return err
}

// files are those that are followed.
func (cfg *config) files() (all []*followed) {
	if cfg.file != nil {
		all = append(all, cfg.file.followed)
	}
	if cfg.certificates != nil {
		all = append(all, cfg.certificates.followed)
	}
	return all
}

// readAgain has the files read at each hangup, until ctx ends.
func (cfg *config) readAgain(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			cfg.log.Info("hangup: reading files again", "files", len(cfg.files()))
			for _, f := range cfg.files() {
				f.readAgain()
			}
		}
	}
}

// seed stores policies of providers that the store does not know.
func seed(ctx context.Context, c *limiter.Coordinator, f *policyfile.File, log *slog.Logger) error {
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
