package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// A steady rate, a ramp, a spike and recovery, for two providers, through each strategy over HTTP. The mock's
// bucket holds 1.5 s of tokens more than permitd's limit: so late may calls be on a busy machine.
func TestRunKeepsEachProvidersLimit(t *testing.T) {
	server := redistest.Start(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	page := filepath.Join(t.TempDir(), "report.html")
	code, stdout, table := loadtest(t, "run", "--stages=250ms:80,250ms:80-240,100ms:600,250ms:40", "--context=uniform(50,150)", "--generated=10",
		"--provider=acme=2,other", "--model=m=3", "--model=n", "--strategy=permitd,none,split,redis_rate", "--redis-url", server.URL(), "--replicas=2",
		"--per=1s", "--capacity=0.25x", "--burst=0.3x", "--mock-burst=1.8x", "--json=-", "--report", page,
		"--assert=upstream_429=0", "--assert=failed=0", "--assert=gave_up=0", "--assert=denied>0", "--assert=none:upstream_429>0", "--assert=none:asked=0", "--assert=split:denied=0", "--assert=redis_rate:denied>0",
		"--assert=split:upstream_429=0", "--assert=redis_rate:upstream_429=0")
	if code != exitOK {
		t.Fatalf("exit %d\n%s", code, table)
	}
	var report struct {
		Settings settings
		Runs     []struct {
			Strategy    string
			Served      int
			Tokens      int64 `json:"tokens_admitted"`
			Upstream429 int64 `json:"upstream_429"`
			Providers   []providerReport
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Runs) != 4 || len(report.Settings.Providers) != 2 {
		t.Fatalf("%v, %+v", err, report)
	}
	s := report.Settings
	acme, other := s.Providers[0], s.Providers[1]
	if acme.Name != "acme" || acme.Amount != 2*other.Amount && acme.Amount != 2*other.Amount+1 && acme.Amount != 2*other.Amount-1 || acme.Amount+other.Amount != s.Amount {
		t.Errorf("capacity of %d is dealt %+v", s.Amount, s.Providers)
	}
	for _, r := range report.Runs {
		if r.Served != s.Requests || r.Tokens != acme.Tokens+other.Tokens {
			t.Errorf("%s served %d of %d, admitted %d tokens", r.Strategy, r.Served, s.Requests, r.Tokens)
		}
		var refused int64
		for i, p := range r.Providers {
			refused += p.Upstream429
			if p.Provider != s.Providers[i].Name || p.TokensAdmitted != s.Providers[i].Tokens || p.Used == nil && r.Strategy == strategyPermitd {
				t.Errorf("%s: %+v, want %+v", r.Strategy, p, s.Providers[i])
			}
			if r.Strategy == strategyPermitd && p.PeakTokens > s.Providers[i].MockBurst {
				t.Errorf("%d tokens reached %s at once", p.PeakTokens, p.Provider)
			}
		}
		if refused != r.Upstream429 {
			t.Errorf("%s: providers refused %d calls, clients were refused %d", r.Strategy, refused, r.Upstream429)
		}
	}
	text, err := os.ReadFile(page)
	for _, want := range []string{"<h3>acme, permitd</h3>", "<h3>other, redis_rate</h3>", "<h3>acme</h3>", "provider other", "Capacity used, by provider"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%q is not in the page, %v", want, err)
		}
	}
	if !strings.Contains(table, "summed over providers") {
		t.Errorf("table:\n%s", table)
	}
}

// What one provider has no room for, another's limit does not know of. The limits drain next to nothing.
func TestStrategiesKeepEachProvidersLimit(t *testing.T) {
	server := redistest.Start(t)
	p := &plan{costs: []costRule{tokensCost(t)}}
	for name, burst := range map[string]int64{"a": 1000, "b": 10} {
		p.providers = append(p.providers, &providerPlan{name: name, own: ownLimits{provider: rateLimit{providerLimitName, 1, time.Hour, burst}}})
	}
	for _, strategy := range []string{strategySplit, strategyRedisRate} {
		c, to := &loadFlags{Replicas: 1, RedisURL: server.URL()}, &clients{runID: "run"}
		stop, err := c.start(t.Context(), p, strategy, to)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range []struct {
			provider string
			waits    bool
		}{{"a", false}, {"b", false}, {"b", true}, {"a", false}, {"a", false}, {"b", true}} {
			v, err := to.local.asker(0, &row{Context: 10, Provider: step.provider}).ask(t.Context())
			if err != nil || v.wait > 0 != step.waits {
				t.Errorf("%s: ask %d, of %s: %+v, %v", strategy, i, step.provider, v, err)
			}
		}
		stop()
	}
}

func drawRun(t *testing.T, c runCmd) []row {
	t.Helper()
	for into, text := range map[*distribution]string{&c.Context: "lognormal(1500,0.8,8000)", &c.Generated: "uniform(1,100)"} {
		if err := into.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	c.Stages = parseStages(t, "5s:100")
	tr, speed, err := c.draw(nil)
	if err != nil || speed != 1 || tr.span() != 5*time.Second {
		t.Fatalf("speed %g, %v", speed, err)
	}
	return tr.rows
}

func TestRunDrawsTheSameForASeed(t *testing.T) {
	load := func(seed uint64) runCmd {
		c := runCmd{Arrivals: arrivalsPoisson, Model: []weighted{{"m", 1}, {"n", 2}}, Provider: []weighted{{"a", 3}, {"b", 1}}}
		c.Seed = seed
		return c
	}
	first := drawRun(t, load(1))
	if !slices.Equal(first, drawRun(t, load(1))) || slices.Equal(first, drawRun(t, load(2))) {
		t.Error("the same seed draws the same requests, and another others")
	}
	// What one flag draws does not hang on the others.
	c := load(1)
	c.Arrivals = arrivalsEven
	for i, r := range drawRun(t, c) {
		if i == len(first) {
			break
		}
		if r.At = first[i].At; r != first[i] {
			t.Fatalf("request %d is %+v if they come evenly, and else %+v", i, r, first[i])
		}
	}
	c = load(1)
	c.Model, c.Provider = nil, nil
	for i, r := range drawRun(t, c) {
		f := first[i]
		if r.Model != "" || r.Provider != "run" || r.At != f.At || r.Context != f.Context || r.Generated != f.Generated {
			t.Fatalf("request %d is %+v without models and providers, and %+v with them", i, r, f)
		}
	}
}

func TestCapacityIsDealtWithoutRest(t *testing.T) {
	for _, tt := range []struct {
		n       int64
		weights []float64
		want    string
	}{
		{100, []float64{1}, "[100]"}, {100, []float64{1, 1, 1}, "[33 34 33]"}, {1e12, []float64{0.1, 0.2}, "[333333333333 666666666667]"},
		{7, []float64{3, 1}, "[5 2]"}, {1, []float64{1, 1000}, "[1 1]"},
	} {
		p := &plan{}
		for _, w := range tt.weights {
			p.providers = append(p.providers, &providerPlan{weight: w})
		}
		if got := fmt.Sprint(p.deal(tt.n)); got != tt.want {
			t.Errorf("%d by %v: %s, want %s", tt.n, tt.weights, got, tt.want)
		}
	}
}

// used is what was used of all, divided by what all could have given while somebody waited for them.
func TestFiguresOfProvidersAreSummed(t *testing.T) {
	p := &plan{per: time.Second, providers: []*providerPlan{{name: "a", mock: mockLimits{amount: 100}}, {name: "b", mock: mockLimits{amount: 1000}}, {name: "c", mock: mockLimits{amount: 5}}}}
	flow := func(peak int64) *flow {
		f := newFlow(time.Second, 1, time.Second)
		f.arrive(0, peak, false)
		return f
	}
	r := &runReport{}
	r.addProviders([]providerResults{
		{usage{Admitted: 500, Used: 90, Stretches: 2, Waited: time.Second}, flow(7)},
		{usage{Admitted: 9000, Used: 1000, Stretches: 1, Waited: 2 * time.Second}, flow(9)},
		{usage{Admitted: 3}, flow(8)},
	}, p)
	if r.TokensAdmitted != 9503 || r.Stretches != 3 || r.WaitedS != 3 || r.PeakTokens != 9 || *r.Used != 1090.0/2100 {
		t.Errorf("%+v, used %g", r, *r.Used)
	}
	if *r.Providers[0].Used != 0.9 || r.Providers[2].Used != nil || r.Providers[1].Upstream429 != 1 {
		t.Errorf("%+v %+v %+v", r.Providers[0], r.Providers[1], r.Providers[2])
	}
}

func TestPageShowsProvidersWithMostToDo(t *testing.T) {
	r := &report{Settings: settings{per: time.Second, slot: time.Millisecond}, Runs: []*runReport{{Strategy: strategyPermitd}}}
	for i := range 9 {
		r.Settings.Providers = append(r.Settings.Providers, providerSettings{Name: fmt.Sprintf("p%d", i), Amount: 1})
		r.Runs[0].Providers = append(r.Runs[0].Providers, &providerReport{slots: []flowSlot{{turnedAway: 1}}})
	}
	for _, top := range r.topics() {
		switch top.ID {
		case "arrived", "bound":
			if n := len(top.Charts); n != 6 || !strings.Contains(top.Text, "6 of 9 providers") || !strings.HasPrefix(top.Charts[5].Title, "p5") {
				t.Errorf("%s: %d charts, %s", top.ID, n, top.Text)
			}
		case "refused":
			if got := top.Charts[0].values[0][0] * r.timeline().piece.Seconds(); got != 9 {
				t.Errorf("%g calls were refused, want those of all 9 providers", got)
			}
		}
	}
}

func TestRunCommandLine(t *testing.T) {
	policies := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(policies, []byte("providers: {acme: {limits: {}}, other: {limits: {}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traced := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(traced, []byte("TIMESTAMP,ContextTokens,GeneratedTokens,Provider\n2026-01-01 00:00:00,30,0,b\n2026-01-01 00:00:30,9,1,\n2026-01-01 00:01:00,60,0,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"run --help", exitOK, "--stages"},
		{"run --print-policy --context=100 --generated=0 --arrivals=even --stages=10s:6", exitOK,
			"providers:\n  run:\n    limits:\n      tokens: {scope: provider, kind: rate, unit: tokens, amount: 4200, per: 10s, burst: 2100}\n"},
		{"run --print-policy --capacity=900 --context=1 --generated=0 --provider=a=2 --provider=b", exitOK, "  b:\n    limits:\n      tokens: {scope: provider, kind: rate, unit: tokens, amount: 300, per: 10s, burst: 150}\n"},
		{"run --print-policy --capacity=900 --burst=60 --context=1 --generated=0 --provider=a=2,b --account-capacity=0.5x", exitOK, "  b:\n    limits:\n      tokens: {scope: provider, kind: rate, unit: tokens, amount: 300, per: 10s, burst: 20}\n      account-tokens: {scope: pool, kind: rate, unit: tokens, amount: 150, per: 10s, burst: 10}\n"},
		{"replay --print-policy --speed=1 --capacity=1000 --provider=a --trace=" + traced, exitOK,
			"  b:\n    limits:\n      tokens: {scope: provider, kind: rate, unit: tokens, amount: 900, per: 1m0s, burst: 450}\n  a:\n    limits:\n      tokens: {scope: provider, kind: rate, unit: tokens, amount: 100, per: 1m0s, burst: 50}\n"},
		{"run --print-policy --provider=acme --policies=" + policies, exitOK, "acme:"},
		{"run --provider=x=0.0001,acme --policies=" + policies, exitUsage, "has no provider x; it has acme, other"},
		{"replay --provider=acme --policies=" + policies + " --trace=" + traced, exitUsage, "has no provider b; it has acme, other"},
		{"run --policies=" + policies, exitUsage, "choose one by --provider (acme, other)"},
		{"run --provider=Bad", exitUsage, `begin with a letter or digit, not "Bad"`},
		{"run --provider=a,b,a=2", exitUsage, "--provider has a twice"},
		{"run --model=a,a", exitUsage, "--model has a twice"},
		{"run --model=a\tb", exitUsage, "1 to 256 printable characters"},
		{"run --model=a=x", exitUsage, "such as gpt-4o=3"},
		{"run --stages=50", exitUsage, "must be DURATION:RATE or DURATION:FROM-TO"},
		{"run --stages=1s:1 --seed=2", exitUsage, "the seed 2 draws none of them: raise the rate"},
		{"run --context=many", exitUsage, "uniform(MIN,MAX)"},
		{"run --arrivals=odd", exitUsage, `must be one of "poisson","even"`},
		{"run --per=100us", exitUsage, "--per 100us is less than 1ms"},
		{"run --burst=9000 --provider=a,b=2", exitUsage, "the largest request of "},
		{"run --strategy=split --burst=20000 --provider=a,b --replicas=9", exitUsage, "with split each of 9 replicas never lets more than 1111 through at once"},
		{"run --trace=x", exitUsage, "unknown flag --trace"},
	} {
		code, stdout, stderr := loadtest(t, strings.Split(tt.args, " ")...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit %d\n%s\n%s", tt.args, code, stdout, stderr)
		}
	}
}
