package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/permitd/permitd/limiter/policyfile"
)

// replayCmd is the subcommand replay.
type replayCmd struct {
	Trace    string        `placeholder:"FILE" help:"CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens, and maybe Model, Key, Provider and CachedTokens: the form of the Azure LLM inference traces in github.com/Azure/AzurePublicDataset. Default: a synthetic one of twenty minutes, drawn by --seed."`
	Speed    float64       `default:"60" help:"Replay so many times faster: the trace's times, and every per of policy and provider, are divided by it."`
	Duration time.Duration `placeholder:"25s" help:"Replay the trace in so long: overrides --speed."`
	Rows     int           `default:"0" help:"Replay only so many requests from the start; 0 is all."`
	Model    string        `help:"Model to name where the trace has none."`
	Provider string        `help:"Provider to ask where the trace names none; needed where --policies holds several."`

	loadFlags `embed:"" set:"per=1m"`
}

// Help is printed below the flags.
func (c *replayCmd) Help() string {
	return "Each request of the trace is a client of its own.\n" + howClients + `

With --speed also the times of calls are divided (--call-base, --call-token), but no --patience, --slack and time of quotas.`
}

// Run replays.
func (c *replayCmd) Run(ctx context.Context, s streams) error { return c.carryOut(ctx, s, c.draw) }

// draw reads the trace, or makes the synthetic one.
func (c *replayCmd) draw(policies *policyfile.File) (t *trace, speed float64, err error) {
	switch {
	case !(c.Speed > 0):
		return nil, 0, errors.New("--speed must be above 0")
	case c.Duration < 0:
		return nil, 0, errors.New("--duration must be above 0s")
	case c.Rows < 0:
		return nil, 0, errors.New("--rows must be at least 0")
	}
	if t, err = c.read(); err != nil {
		return nil, 0, err
	}
	if c.Rows > 0 && c.Rows < len(t.rows) {
		t.rows = t.rows[:c.Rows]
	}
	for i := range t.rows {
		if r := &t.rows[i]; r.Model == "" {
			r.Model = c.Model
		}
	}
	if err := t.nameProvider(c.Provider, "replay", c.Policies, policies); err != nil {
		return nil, 0, err
	}
	if speed = c.Speed; c.Duration > 0 {
		if speed = float64(t.span()) / float64(c.Duration); !(speed > 0) {
			return nil, 0, errors.New("all requests of the trace are at one moment, so --duration can't spread them: leave it out")
		}
	}
	return t, speed, nil
}

func (c *replayCmd) read() (*trace, error) {
	if c.Trace == "" {
		return syntheticTrace(c.Seed), nil
	}
	f, err := os.Open(c.Trace)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readTrace(c.Trace, f)
}
