// Faulttest shows what callers of permitd see when its Redis fails. Three instances of permitd are under steady load while
// Redis is stopped, killed, full, slow and so on, and what was answered is held against what permitd promises.
//
//	scripts/faults              every trial
//	scripts/faults --short      some of them, held against what a busy machine can do
//	scripts/faults --run full   those whose name matches
//	scripts/soak                faults at random for ten minutes; then all has to be as it was
//
// load.go asks, site.go and fault.go have what is asked and what happens to it, judge.go, admitted.go and aftermath.go say
// what has to be so.
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
	exitFailed = 1 // something was not as it has to be, or could not be tried
	exitUsage  = 2 // the command line can't be used
)

// program is one of the two there are.
type program interface {
	// try does what it is for, and returns how many parts failed.
	try(ctx context.Context, g *ground, t *table) (failed int, err error)
	common() *flags
}

// flags are those of both.
type flags struct {
	Seed    uint64 `help:"Of what is asked and of what happens when. Default: a new one each time, which is printed."`
	Verbose bool   `short:"v" help:"Show every check, not only those that failed."`
	Keep    bool   `help:"Keep the logs of all instances, also if nothing failed."`
}

func (f *flags) common() *flags { return f }

// run is the whole of a program: soak if that is the first argument.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name, does, p := "scripts/faults", "Shows what permitd does when Redis fails.", program(&faults{})
	if len(args) > 0 && args[0] == "soak" {
		name, does, p, args = "scripts/soak", "Has Redis fail at random for minutes, and looks whether all is as before.", &soak{}, args[1:]
	}
	exited := -1
	app, err := kong.New(p, kong.Name(name), kong.Description(does), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }), kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 125}))
	if err != nil {
		panic(err) // the tags of the struct are at fault
	}
	_, err = app.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return exitUsage
	}
	failed, err := prepared(ctx, p, stdout, stderr)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	if err != nil || failed > 0 {
		return exitFailed
	}
	return exitOK
}

// prepared runs a program with a binary and a place for logs.
func prepared(ctx context.Context, p program, stdout, stderr io.Writer) (failed int, err error) {
	f := p.common()
	if f.Seed == 0 {
		f.Seed = uint64(time.Now().UnixNano()) % 1e6
	}
	g := &ground{seed: f.Seed, progress: stderr}
	if g.dir, err = os.MkdirTemp("", "permitd-faults-"); err != nil {
		return 0, err
	}
	defer func() {
		if failed == 0 && err == nil && !f.Keep {
			os.RemoveAll(g.dir)
		} else {
			fmt.Fprintln(stderr, "what the instances logged is in", g.dir)
		}
	}()
	if g.binary, err = build(ctx, g.dir); err != nil {
		return 0, err
	}
	defer os.Remove(g.binary)
	fmt.Fprintf(stdout, "seed %d\n\n%s\n\n", f.Seed, formulas)
	return p.try(ctx, g, &table{out: stdout, all: f.Verbose})
}
