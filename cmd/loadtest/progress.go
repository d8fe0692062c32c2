package main

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// progress is a bar that grows with each request that comes to its end, or nothing.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(mode, strategy string, requests int, out io.Writer) progress {
	if f, ok := out.(*os.File); mode == "never" || mode == "auto" && !(ok && isatty.IsTerminal(f.Fd())) {
		return progress{}
	}
	return progress{progressbar.NewOptions(requests,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(strategy+": requests done"),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

func (p progress) step() {
	if p.bar != nil {
		_ = p.bar.Add(1) // a bar that can't be drawn is no reason to stop
	}
}

func (p progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
