package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// loadFlags are the flags that replay and run share: whom clients ask, what the provider admits, what is reported.
type loadFlags struct {
	Strategy []string `default:"permitd" help:"Who is asked before the provider is called: permitd; none, each client calls at will and waits as told by 429s; split, a limiter in each replica for its part of the limits (golang.org/x/time/rate); redis_rate, one call for each limit. Several, separated by commas, are run one after the other on the same input and compared."`
	Replicas int      `default:"4" help:"Over how many simulated replicas the clients of split and redis_rate are spread, at random. Those of permitd use its URLs in turn."`
	RedisURL string   `name:"redis-url" placeholder:"URL" help:"The Redis of the strategy redis_rate."`

	Keys     int           `default:"100" help:"Where requests have no keys, deal them so many, the k-th about 1/k as often as the first (Zipf)."`
	Seed     uint64        `default:"1" help:"Of all that is drawn: the same seed draws the same requests and keys, and the same jitter of clients."`
	Patience time.Duration `default:"2m" help:"A client whose next try would be later than this after its start gives up (not divided by a speed)."`

	Capacity  figure `default:"0.7x" group:"Provider" help:"Tokens per --per that the mock provider admits; 0.7x is 0.7 times what is asked on average. Several providers share this and all other figures by their weight."`
	mockFlags `embed:"" group:"Provider"`
	Accounts  int `default:"0" group:"Provider" help:"Deal the keys to so many accounts at the provider; 0: each key is an account of its own. In the built-in policy accounts are pools."`

	Permitd     []string       `placeholder:"URL" group:"Permitd" help:"A running permitd, asked in turn with others given. They need the policy of this load: see --apply and --print-policy. Default: one with the embedded store is started in this process."`
	Token       string         `env:"PERMITD_TOKEN" group:"Permitd" help:"Bearer token for --permitd, or @PATH of a file that holds it and nothing else."`
	Policies    string         `placeholder:"FILE" group:"Permitd" help:"A policy file of your own. Default: limits that suit the provider: rates of --capacity and --account-capacity for a bucket, the same with strict_window for a window."`
	Cost        []string       `default:"tokens=context+generated" group:"Permitd" sep:"," placeholder:"UNIT=COLUMNS" help:"What a request costs, as a sum of the columns context, generated and cached, such as input_tokens=context-cached. The provider always counts context+generated."`
	Burst       figure         `group:"Permitd" placeholder:"0.5x" help:"Of the built-in policy; 0.5x (0.1x for a window) is 0.5 times --capacity."`
	Slack       *time.Duration `group:"Permitd" help:"Of the built-in policy for a window, 100ms by default: how unevenly calls may reach the provider (not divided by a speed)."`
	Apply       bool           `group:"Permitd" help:"Put the policy of this load in force first, and its pools and keys, by the first --permitd; it replaces the policy that the provider has there. --token must be of role operator."`
	PrintPolicy bool           `group:"Permitd" help:"Print the policy file, compressed by the speed, and do nothing else."`

	reserveFlags `embed:"" group:"Reservation"`

	JSON     string   `name:"json" placeholder:"FILE" group:"Report" help:"Write the report as JSON too; - is standard output, and moves the table to standard error."`
	Report   string   `placeholder:"FILE" group:"Report" help:"Write the report with charts as one HTML file, which needs no network; - as with --json."`
	Events   string   `placeholder:"FILE" group:"Report" help:"What is done meanwhile, for the report: lines like 2026-10-01T12:00:03.2Z worker 2 is killed. The file is read when the load is over, so it can be written during it."`
	Assert   []string `placeholder:"[STRATEGY:]FIGURE>=N" sep:"none" group:"Report" help:"Exit with 1 unless a figure of the report is as said, such as upstream_429=0, used>=0.97 or none:upstream_429>0; without a strategy, of permitd or of the only one. Repeatable. An unknown figure lists those there are."`
	Progress string   `enum:"auto,always,never" default:"auto" group:"Report" help:"Show a progress bar on standard error: auto is where that is a terminal."`
}

// check refuses what flags can't be together.
func (c *loadFlags) check() error {
	switch {
	case c.Keys < 1:
		return errors.New("--keys must be at least 1")
	case c.Patience < 0 || c.Slack != nil && *c.Slack < 0:
		return errors.New("--patience and --slack must be at least 0s")
	case c.Policies != "" && (c.Burst.set || c.Slack != nil):
		return errors.New("--burst and --slack are of the built-in policy; --policies has its own")
	case c.Mock == mockBucket && c.Slack != nil:
		return errors.New("--slack goes with --mock=window")
	case c.Apply && len(c.Permitd) == 0:
		return errors.New("--apply goes with --permitd: a permitd in this process has the policy anyway")
	case c.JSON == "-" && c.Report == "-":
		return errors.New("--json and --report can't both go to standard output: give one of them a file")
	}
	if err := c.mockFlags.check(); err != nil {
		return err
	}
	if err := c.checkAccounts(); err != nil {
		return err
	}
	return c.checkReserve()
}

// readToken puts the token in place of the @PATH of a file that holds it.
func (c *loadFlags) readToken() error {
	if path, ok := strings.CutPrefix(c.Token, "@"); ok {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("--token (PERMITD_TOKEN): %w", err)
		}
		if c.Token = strings.TrimSpace(string(text)); c.Token == "" {
			return fmt.Errorf("--token (PERMITD_TOKEN): %s is empty", path)
		}
	}
	return nil
}
