// Rolltest restarts instances of permitd by turns while they are asked, and fails if an ask does. Three instances share a
// Redis. Half of the load goes through an HAProxy with the configuration of docker-compose.yml; the other half comes from
// clients that know all instances, keep connections to each, and turn to the next where a connection is refused.
//
//	scripts/rolls            ten rolls, 300 asks a second each way
//	scripts/rolls --short    two rolls
//
// fleet.go has what runs, load.go who asks.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // an ask failed, or nothing could be tried
	exitUsage  = 2 // the command line can't be used
)

type options struct {
	Rolls      int           `default:"10" help:"How often each instance is restarted."`
	Short      bool          `help:"Two rolls."`
	Rate       int           `default:"300" help:"Asks per second, each way."`
	DrainDelay time.Duration `default:"5s" help:"The instances' --drain-delay: that of docker-compose.yml."`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	const name = "scripts/rolls"
	var o options
	exited := -1
	app, err := kong.New(&o, kong.Name(name), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.Description("Restarts three instances by turns under load: no ask may fail."),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 125}))
	if err != nil {
		panic(err) // the tags of the struct are at fault
	}
	_, err = app.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err == nil && (o.Rolls < 1 || o.Rate < 1) {
		err = errors.New("--rolls and --rate must be at least 1")
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return exitUsage
	}
	if o.Short {
		o.Rolls = 2
	}
	err = try(ctx, o, stdout)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return exitFailed
	}
	return exitOK
}

// try rolls under load. The error says which asks failed, or why nothing could be tried.
func try(ctx context.Context, o options, out io.Writer) (err error) {
	f, err := newFleet(ctx, o.DrainDelay)
	defer func() {
		f.close(err != nil)
		if err != nil {
			fmt.Fprintln(out, "what HAProxy and the instances logged is in", f.dir)
		}
	}()
	if err != nil {
		return err
	}
	loads := []*load{
		newLoad("through HAProxy", f.balancer),
		newLoad("pooled clients", f.urls()...),
	}
	loading, stop := context.WithCancel(ctx)
	ended := make(chan struct{}, len(loads))
	for _, l := range loads {
		go func() { l.run(loading, o.Rate); ended <- struct{}{} }()
	}
	begin := time.Now()
	for n := range o.Rolls {
		if err = f.roll(ctx); err != nil {
			break
		}
		fmt.Fprintf(out, "roll %d: %.1f s\n", n+1, time.Since(begin).Seconds())
	}
	took := time.Since(begin)
	stop()
	for range loads {
		<-ended
	}
	for _, l := range loads {
		fmt.Fprintln(out, l.summary(took))
		err = errors.Join(err, l.err())
	}
	return err
}
