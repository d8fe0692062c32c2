// Command permitd is the rate-limit coordinator as a service. Without a subcommand it serves; permitd --help shows the
// whole of its configuration.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains, the second ends at once
	redis.SetLogger(silence{})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// silence is go-redis' own log: a line of its own form for each connection that fails, which the store reports where it
// matters.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
