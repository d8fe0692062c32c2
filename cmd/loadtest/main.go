// Loadtest puts permitd under load and says what came of it.
//
//	loadtest replay --trace trace.csv               a recorded trace through permitd to a mock provider
//	loadtest replay --strategy permitd,none,split   a synthetic one, with and without permitd, compared
//	loadtest run --stages 10s:50,3s:500,10s:50      a load of so many requests per second
//	loadtest mock --capacity 100000                 the mock provider alone, for clients of OpenAI
//
// See the --help of each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK     = 0
	exitBroken = 1 // an expectation is broken, or the run met errors
	exitUsage  = 2 // the command line, or a file that it names, can't be used
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a fault of the command line or of a file that it names.
type usageError struct{ error }

// errBroken is returned when all has been said and the exit code is 1.
var errBroken = errors.New("broken")

// run is the whole program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var commands struct {
		Version kong.VersionFlag `help:"Print the version and exit."`

		Replay replayCmd `cmd:"" help:"Replay a trace of LLM requests to a mock provider, through permitd and other strategies."`
		Run    runCmd    `cmd:"" help:"Put a load of so many requests per second on mock providers, through permitd and other strategies."`
		Mock   mockCmd   `cmd:"" help:"Serve the mock provider, which speaks OpenAI's Chat Completions, until interrupted."`
	}
	exited := -1
	app, err := kong.New(&commands, kong.Name("loadtest"),
		kong.Description("Puts permitd under load and says what came of it."),
		kong.Vars{"version": "loadtest " + buildVersion() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 110}))
	if err != nil {
		panic(err) // the tags of the structs are at fault
	}
	call, err := app.Parse(args)
	if exited >= 0 { // --help or --version
		return exited
	}
	if err == nil {
		call.BindTo(ctx, (*context.Context)(nil))
		err = call.Run(streams{stdin, stdout, stderr})
	} else {
		err = usageError{err}
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errBroken):
		return exitBroken
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "loadtest:", err)
	return exitBroken
}
