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
	"regexp"
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

// command is the command line.
type command struct {
	Short   bool   `help:"Four trials in less than a minute, with slack for a busy machine in all that is timed, and none in what is exact."`
	Run     string `placeholder:"REGEXP" help:"Only trials whose name matches."`
	Seed    uint64 `help:"Of what is asked and, with --minutes, of what happens when. Default: a new one each time, which is printed."`
	Minutes int    `hidden:"" help:"Soak: faults at random for so long."`
	Verbose bool   `short:"v" help:"Show every check, not only those that failed."`
	Keep    bool   `help:"Keep the logs of all instances, also if nothing failed."`
}

// Help is printed below the flags.
func (*command) Help() string {
	text := "Trials:\n"
	for _, t := range trials {
		text += fmt.Sprintf("\n  %-10s %s", t.name, t.what)
	}
	return text + "\n\n" + formulas + `

Needs Go and redis-server, and for the trial "clock" a C compiler.
Exit codes: 0; 1 when a trial failed or could not be made; 2 for a fault of the command line.`
}

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c command
	exited := -1
	app, err := kong.New(&c, kong.Name("scripts/faults"), kong.Description("Shows what permitd does when Redis fails."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 125}))
	if err != nil {
		panic(err) // the tags of the struct are at fault
	}
	_, err = app.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	var names *regexp.Regexp
	if err == nil {
		names, err = regexp.Compile(c.Run)
	}
	if err != nil {
		fmt.Fprintln(stderr, "scripts/faults:", err)
		return exitUsage
	}
	failed, err := c.try(ctx, names, stdout, stderr)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(stderr, "scripts/faults:", err)
	}
	if err != nil || failed > 0 {
		return exitFailed
	}
	return exitOK
}

// try makes the trials, and returns how many failed.
func (c *command) try(ctx context.Context, names *regexp.Regexp, stdout, stderr io.Writer) (failed int, err error) {
	dir, err := os.MkdirTemp("", "permitd-faults-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if failed == 0 && !c.Keep {
			os.RemoveAll(dir)
		} else {
			fmt.Fprintln(stderr, "what the instances logged is in", dir)
		}
	}()
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixNano()) % 1e6
	}
	g := &ground{dir: dir, seed: c.Seed}
	if g.binary, err = build(ctx, dir); err != nil {
		return 0, err
	}
	defer os.Remove(g.binary)
	pace, std := fullPace, goals
	if c.Short {
		pace, std = shortPace, busy
	}
	result := table{out: stdout, all: c.Verbose}
	for _, t := range trials {
		if ctx.Err() != nil || !names.MatchString(t.name) || c.Short && !t.short {
			continue
		}
		fmt.Fprintf(stderr, "%s: %s\n", t.name, t.what)
		v, err := t.run(ctx, g, pace, std)
		result.rows = append(result.rows, row{t.name, t.what, v, err})
	}
	if len(result.rows) == 0 {
		return 0, fmt.Errorf("no trial matches %q; --help has their names", names)
	}
	fmt.Fprintf(stdout, "seed %d\n\n%s\n\n", c.Seed, formulas)
	return result.write(), nil
}
