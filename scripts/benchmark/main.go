// Benchmark measures what permits cost, beside other ways to do the same on the same machine at the same time, and holds
// the ratios against the goals of the project.
//
//	scripts/bench                       every contender, five rounds of a second each
//	scripts/bench --run 'lone|bare'     some of them
//	scripts/bench --quick               does it still run?
//
// A [contender] is one thing that is measured; decide.go, rivals.go and web.go have them all. goals.go says what is
// compared with what.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
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
	exitFailed = 1 // something could not be measured
	exitUsage  = 2 // the command line can't be used
)

// command is the command line.
type command struct {
	Rounds     int           `default:"5" help:"How often each contender is measured; what is printed is the median."`
	Time       time.Duration `default:"1s" help:"How long each contender runs in a round."`
	Run        string        `placeholder:"REGEXP" help:"Only contenders whose name matches. Goals that need others are left out."`
	Quick      bool          `help:"One round of 50 ms: tells whether it works, not how fast."`
	JSON       string        `name:"json" placeholder:"FILE" help:"Write everything, each round included, as JSON too; - is standard output, and moves the table to standard error."`
	CPUProfile string        `name:"cpuprofile" placeholder:"FILE" help:"Write a CPU profile of this process (not of Redis); best with --run."`
}

// Help is printed below the flags.
func (*command) Help() string {
	return `Contenders take turns, so that what else goes on at the machine meets all of them; a ratio is the median of the ratios
within each round. Callers, servers and redis-server share the machine: compare the figures of one run with each other,
never with those of another.

"Redis µs" is the processor time that redis-server used per decision, "allocs" what this process allocated for it, HTTP
clients included. A decision is over two rate limits, one of the provider and one of the key, and granted, unless said
otherwise. The keys are 1000.

redis-server has to be installed.

Exit codes: 0, also when goals are missed; 1 when something could not be measured; 2 for a fault of the command line.`
}

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c command
	exited := -1
	app, err := kong.New(&c, kong.Name("scripts/bench"),
		kong.Description("Measures what permits cost, beside the goals."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 110}))
	if err != nil {
		panic(err) // the tags of the struct are at fault
	}
	_, err = app.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	var names *regexp.Regexp
	if err == nil {
		names, err = c.check()
	}
	if err != nil {
		fmt.Fprintln(stderr, "scripts/bench:", err)
		return exitUsage
	}
	err = c.measure(ctx, names, stdout, stderr)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(stderr, "scripts/bench:", err)
		return exitFailed
	}
	return exitOK
}

// check applies --quick and returns --run.
func (c *command) check() (*regexp.Regexp, error) {
	if c.Quick {
		c.Rounds, c.Time = 1, 50*time.Millisecond
	}
	if c.Rounds < 1 || c.Time <= 0 {
		return nil, errors.New("--rounds and --time must be positive")
	}
	return regexp.Compile(c.Run)
}

// measure runs the contenders and writes what came of it.
func (c *command) measure(ctx context.Context, names *regexp.Regexp, stdout, stderr io.Writer) (err error) {
	b, err := newBed(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	all, err := b.contenders(ctx, names)
	if err != nil {
		return err
	}
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := b.rounds(ctx, all, c.Rounds, c.Time, stderr); err != nil {
		return err
	}
	r := newReport(c, all, b.redis.Version(ctx))
	table := stdout
	if c.JSON == "-" {
		table = stderr
	}
	r.write(table)
	if c.JSON != "" {
		return r.writeJSON(c.JSON, stdout)
	}
	return nil
}
