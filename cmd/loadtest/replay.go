package main

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// replayCmd is the subcommand replay.
type replayCmd struct {
	Strategy []string `default:"permitd" help:"Who is asked before the provider is called: permitd; none, each client calls at will and waits as told by 429s; split, a limiter in each replica for its part of the limits (golang.org/x/time/rate); redis_rate, one call for each limit. Several, separated by commas, are run one after the other on the same input and compared."`
	Replicas int      `default:"4" help:"Over how many simulated replicas the clients of split and redis_rate are spread, at random. Those of permitd use its URLs in turn."`
	RedisURL string   `name:"redis-url" placeholder:"URL" help:"The Redis of the strategy redis_rate."`

	Trace    string        `placeholder:"FILE" help:"CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens, and maybe Model, Key and CachedTokens: the form of the Azure LLM inference traces in github.com/Azure/AzurePublicDataset. Default: a synthetic one of twenty minutes, drawn by --seed."`
	Speed    float64       `default:"60" help:"Replay so many times faster: the trace's times, and every per of policy and provider, are divided by it."`
	Duration time.Duration `placeholder:"25s" help:"Replay the trace in so long: overrides --speed."`
	Rows     int           `default:"0" help:"Replay only so many requests from the start; 0 is all."`
	Keys     int           `default:"100" help:"Where the trace has no keys, deal it so many, the k-th about 1/k as often as the first (Zipf)."`
	Seed     uint64        `default:"1" help:"Of the keys and of the clients' jitter."`
	Model    string        `help:"Model to name where the trace has none."`
	Patience time.Duration `default:"2m" help:"A client whose next try would be later than this after its start gives up (not divided by the speed)."`

	Capacity  figure `default:"0.7x" group:"Provider" help:"Tokens per --per that the mock provider admits; 0.7x is 0.7 times the trace's mean."`
	mockFlags `embed:"" group:"Provider"`
	Accounts  int `default:"0" group:"Provider" help:"Deal the keys to so many accounts at the provider; 0: each key is an account of its own. In the built-in policy accounts are pools."`

	Permitd     []string       `placeholder:"URL" group:"Permitd" help:"A running permitd, asked in turn with others given. Start each with the output of --print-policy. Default: one with the embedded store is started in this process."`
	Token       string         `env:"PERMITD_TOKEN" group:"Permitd" help:"Bearer token for --permitd, or @PATH of a file that holds it and nothing else."`
	Policies    string         `placeholder:"FILE" group:"Permitd" help:"A policy file of your own. Default: limits that suit the provider: rates of --capacity and --account-capacity for a bucket, the same with strict_window for a window."`
	Provider    string         `group:"Permitd" help:"Which provider of --policies to ask for; needed where there are several."`
	Cost        []string       `default:"tokens=context+generated" group:"Permitd" sep:"," placeholder:"UNIT=COLUMNS" help:"What a request costs, as a sum of the columns context, generated and cached, such as input_tokens=context-cached. The provider always counts context+generated."`
	Burst       figure         `group:"Permitd" placeholder:"0.5x" help:"Of the built-in policy; 0.5x (0.1x for a window) is 0.5 times --capacity."`
	Slack       *time.Duration `group:"Permitd" help:"Of the built-in policy for a window, 100ms by default: how unevenly calls may reach the provider (not divided by the speed)."`
	PrintPolicy bool           `group:"Permitd" help:"Print the compressed policy file and do nothing else."`

	reserveFlags `embed:"" group:"Reservation"`

	JSON     string   `name:"json" placeholder:"FILE" group:"Report" help:"Write the report as JSON too; - is standard output, and moves the table to standard error."`
	Report   string   `placeholder:"FILE" group:"Report" help:"Write the report with charts as one HTML file, which needs no network."`
	Assert   []string `placeholder:"[STRATEGY:]FIGURE>=N" sep:"none" group:"Report" help:"Exit with 1 unless a figure of the report is as said, such as upstream_429=0, used>=0.97 or none:upstream_429>0; without a strategy, of permitd or of the only one. Repeatable. An unknown figure lists those there are."`
	Progress string   `enum:"auto,always,never" default:"auto" group:"Report" help:"Show a progress bar on standard error: auto is where that is a terminal."`
}

// Help is printed below the flags.
func (c *replayCmd) Help() string {
	return `Each request of the trace is a client of its own. At its time it asks permitd for a permit, and when it has one calls a mock
provider, which runs in this process and enforces a limit of its own. Refused by either, it waits as long as it was told
and a random time more (at most 20 ms, doubling with each refusal to 1 s), and asks again, until it is admitted or out of
patience. An ask that permitd does not answer, or answers 503, is made again at the next address; so is one for which a load
balancer has no answer (502, 504).

With other strategies the same clients ask somebody else. The replicas of split have each their part of rate and burst, and
a client waits in its replica's line. With redis_rate clients wait as permitd's do; it asks the account's limit first, and
when the provider's limit then denies, only that one again.

The mock provider speaks OpenAI's Chat Completions (see loadtest mock --help) and counts the tokens of prompt and answer when
a call arrives. With --account-capacity it also limits each account there: a call is charged to both limits or to none. The
built-in policy then has two limits as well, account-tokens of scope pool beside tokens; with --accounts its key entries say
which keys are of one pool.

"used" in the report is the share of the provider's capacity that was used while at least one client waited: tokens
admitted during stretches in which somebody waits (from its first refusal until it is admitted or gives up, but not while only limits of its account keep it), less the
cost of the request that began each stretch, divided by capacity times the length of the stretches. "attainable" is what
the built-in policy lets through: all for a bucket; (1 - burst/amount) * per/(per + slack) for a window.

Nobody knows before a call how much it will generate. So with --reserve an ask is a hold for an estimate: its cost as if
that many tokens had been generated. Once admitted, the call takes --call-base and --call-token for each token that is
really generated, and then is settled to the usage that the answer ends with; one that the provider refused is cancelled. The
provider charges the actual tokens when the call arrives, so a reservation takes room from permitd only. Have --burst be at
least what drains in twice the longest call, which the replay prints. Permitd refunds what has not drained, first in, first
out: under load a reservation begins to drain burst/rate after its grant, so with less burst long calls end when part of
their refund is gone; and while calls run, their unused estimates take room in the burst that others can't use. What calls
take beyond their estimate permitd learns a call later than the provider: --mock-burst has to exceed --burst by that much.
--no-settle shows what the same estimates cost when they stay charged.

Latencies count from the moment at which something was meant to happen, so that stalls count. "permit sent to call
answered" bounds how long after its permit a call reaches the provider: slack has to cover its spread.

Exit codes: 0; 1 when an assertion is broken, an answer was neither yes nor 429, or a permit could not be settled; 2 for a
fault of the command line.`
}

// Run replays.
func (c *replayCmd) Run(ctx context.Context, s streams) error {
	p, err := c.plan()
	if err != nil {
		return usageError{err}
	}
	if c.PrintPolicy {
		_, err := io.WriteString(s.out, p.policyText)
		return err
	}
	table := s.out
	if c.JSON == "-" {
		table = s.err
	}
	warnings, err := policyDiffers(ctx, c, p)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(s.err, "loadtest: warning:", w)
	}
	settings := c.settings(ctx, p)
	settings.write(table)
	r := &report{Settings: settings}
	for _, strategy := range c.Strategy {
		results, err := c.replay(ctx, p, strategy, s.err)
		if err != nil {
			return err
		}
		run := newRun(strategy, results, p)
		run.write(table, len(c.Strategy) > 1)
		if r.Runs = append(r.Runs, run); ctx.Err() != nil {
			break
		}
	}
	if len(r.Runs) > 1 {
		r.compare(table)
	}
	if err := c.writeFiles(r, s); err != nil {
		return err
	}
	if r.broken() {
		return errBroken
	}
	return nil
}

func (c *replayCmd) writeFiles(r *report, s streams) error {
	if c.JSON != "" {
		if err := r.writeJSON(c.JSON, s.out); err != nil {
			return err
		}
	}
	if c.Report != "" {
		return r.writeHTML(c.Report)
	}
	return nil
}

// results are what the replay of one strategy measured.
type results struct {
	outcome
	usage       usage
	flow        *flow
	elapsed     time.Duration
	interrupted bool
}

// replay runs the clients of one strategy through to the end.
func (c *replayCmd) replay(ctx context.Context, p *plan, strategy string, stderr io.Writer) (*results, error) {
	bar := newProgress(c.Progress, strategy, len(p.trace.rows), stderr)
	tally := newTally(bar.step)
	all := &clients{
		http: newHTTPClient(), upstream: newUpstreamClient(p.reserving.calls()), token: c.Token,
		provider: p.provider, costs: p.costs, patience: c.Patience, seed: c.Seed, replicas: c.Replicas,
		reserving: p.reserving, runID: crand.Text(), tally: tally,
	}
	stopStrategy, err := c.start(ctx, p, strategy, all)
	if err != nil {
		return nil, err
	}
	defer stopStrategy()
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	all.meter = &meter{now: clock}
	arrivals := newFlow(p.slot(), p.amount, p.per)
	mock, stop, err := serveLocal(newMockProvider(mockConfig{
		limits: p.mock, pace: p.reserving.calls(), account: p.account, now: clock,
		arrived: func(now time.Duration, tokens int64, admitted bool) {
			arrivals.arrive(now, tokens, admitted)
			if admitted {
				all.meter.admit(tokens)
			}
		},
	}))
	if err != nil {
		return nil, fmt.Errorf("start the mock provider: %w", err)
	}
	defer stop()
	all.mock = mock
	all.run(ctx, p.trace, p.speed)
	bar.finish()
	all.http.CloseIdleConnections()
	all.upstream.CloseIdleConnections()
	o := tally.read()
	if p.reserving == nil {
		o.Holds = nil
	}
	return &results{outcome: o, usage: all.meter.read(), flow: arrivals, elapsed: clock(), interrupted: ctx.Err() != nil}, nil
}

// start gives clients whom a strategy asks, until stop is called.
func (c *replayCmd) start(ctx context.Context, p *plan, strategy string, to *clients) (stop func(), err error) {
	switch strategy {
	case strategyPermitd:
		return c.startPermitd(ctx, p, to)
	case strategySplit:
		to.local = newSplit(c.Replicas, p.own, p.costs[0])
	case strategyRedisRate:
		s, stop, err := newRedisRate(ctx, c.RedisURL, c.Replicas, p.own, p.costs[0], to.runID)
		if err != nil {
			return nil, err
		}
		to.local = s
		return stop, nil
	}
	return func() {}, nil
}

// startPermitd gives clients the permitd that are named, or one of its own, behind proxies with --lossy.
func (c *replayCmd) startPermitd(ctx context.Context, p *plan, to *clients) (func(), error) {
	stop := func() {}
	to.permitd = trimSlashes(c.Permitd)
	if len(to.permitd) == 0 {
		url, stopOwn, err := startPermitd(ctx, p.policies)
		if err != nil {
			return nil, err
		}
		to.permitd, stop = []string{url}, stopOwn
	}
	if p.reserving == nil || p.reserving.lossy == 0 {
		return stop, nil
	}
	at, stopProxies, err := serveLossy(newLossyProxy(p.reserving.lossy, c.Seed, to.tally.replyLost), to.permitd)
	if err != nil {
		stop()
		return nil, err
	}
	to.permitd = at
	return func() { stopProxies(); stop() }, nil
}

// run starts each request at its time, and returns when all have come to their end.
func (c *clients) run(ctx context.Context, t *trace, speed float64) {
	var running sync.WaitGroup
	defer running.Wait()
	began := time.Now()
	for i := range t.rows {
		start := began.Add(time.Duration(float64(t.rows[i].At) / speed))
		if sleep(ctx, time.Until(start)) != nil {
			return
		}
		c.tally.start()
		running.Go(func() { c.serve(ctx, i, &t.rows[i], start) })
	}
}

// serveLocal serves on a free port of this machine until stop is called.
func serveLocal(h http.Handler) (url string, stop func(), err error) {
	return serveAt("127.0.0.1:0", h)
}

// serveAt serves at an address until stop is called, which ends calls under way.
func serveAt(addr string, h http.Handler) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: callTimeout}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends when closed
	}()
	return "http://" + listener.Addr().String(), func() { server.Close(); <-done }, nil
}
