package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Calls of 10 tokens at a speed of 120 take 100 ms + 10·5 ms, divided by it.
var reserveArgs = []string{"--speed=120", "--reserve=100", "--call-base=100ms", "--mock=bucket", "--burst=0.5x", "--mock-burst=1x", "--json=-",
	"--assert=served=400", "--assert=failed=0", "--assert=allowed=400", "--assert=upstream_429=0", "--assert=unsettled=0"}

func TestReplayReserves(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := writeTrace(t, 400, 90*time.Second)
	for _, tt := range []struct {
		name string
		args []string
	}{
		// A burst that takes minutes to drain, so that a busy machine settles in time.
		{"settles", []string{"--per=4h", "--capacity=0.05x", "--assert=settled=400", "--assert=refunded_tokens>0", "--assert=extra_tokens=0"}},
		{"takes more than it reserved", []string{"--reserve=1", "--assert=settled=400", "--assert=extra_tokens=3600", "--assert=refunded_tokens=0"}},
		{"streams", []string{"--per=4h", "--capacity=0.05x", "--stream", "--assert=settled=400", "--assert=refunded_tokens>0", "--assert=extra_tokens=0"}},
		{"never settles", []string{"--no-settle", "--assert=settled=0", "--assert=refunded_tokens=0"}},
		{"dies and loses", []string{"--per=4h", "--capacity=0.05x", "--die=0.1", "--lossy=0.1", "--assert=died>0", "--assert=replies_lost>0", "--assert=no_decision>0", "--assert=settled>300", "--assert=refunded_tokens>0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, table := loadtest(t, append(append([]string{"replay", "--trace", path}, reserveArgs...), tt.args...)...)
			if code != exitOK {
				t.Fatalf("exit %d\n%s", code, table)
			}
			var report struct {
				Settings struct{ Reserve reserveSettings }
				Runs     []struct {
					Holds  holdCounts
					Tokens int64 `json:"tokens_admitted"`
				}
			}
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Runs) != 1 {
				t.Fatalf("%v, %d runs", err, len(report.Runs))
			}
			r := report.Runs[0]
			h, s := r.Holds, report.Settings.Reserve
			if h.Settled+h.Died != 400 && s.Settle || h.Reserved != r.Tokens+400*(s.Output-10) || h.Reserved-h.Refunded+h.Extra < r.Tokens {
				t.Errorf("%+v; %d tokens were admitted", h, r.Tokens)
			}
			if s.LongestCall != "1.25ms" || s.TTL != "1s" || !strings.Contains(table, "extra charged") || !strings.Contains(table, "at most 1.25ms") {
				t.Errorf("%+v\n%s", s, table)
			}
		})
	}
}

func TestWithoutReserveNothingIsSaidOfIt(t *testing.T) {
	path := writeTrace(t, 3, time.Second)
	_, stdout, table := loadtest(t, "replay", "--trace", path, "--capacity=10000", "--json=-", "--assert=settled=0")
	if strings.Contains(stdout, "reserve") || strings.Contains(table, "extra charged") || !strings.Contains(table, "the run yielded no settled") {
		t.Errorf("%s\n%s", stdout, table)
	}
}

func TestReserveFlags(t *testing.T) {
	path := writeTrace(t, 300, 2*time.Minute)
	for flags, want := range map[string]string{
		"--no-settle":                        "go with --reserve",
		"--stream":                           "go with --reserve",
		"--call-base=1s":                     "go with --reserve",
		"--call-token=1s":                    "go with --reserve",
		"--die=0.1":                          "go with --reserve",
		"--lossy=0.1":                        "go with --reserve",
		"--reserve=10 --strategy=none":       "--reserve is of the strategy permitd alone",
		"--reserve=10 --no-settle --die=0.1": "does not go with --no-settle",
		"--reserve=-1":                       "--reserve must be a number of tokens from 0",
		"--reserve=10 --die=1.1":             "--die must be a share from 0 to 1",
		"--reserve=10 --die=NaN":             "--die must be a share from 0 to 1",
		"--reserve=10 --lossy=1":             "--lossy must be a share from 0 to below 1",
		"--reserve=10 --call-base=-1s":       "must be at least 0s",
		"--reserve=1000000":                  "permitd never grants more than",
		"--reserve=10 --call-token=1h":       "the policy's hold_ttl is 10m",
	} {
		args := append([]string{"replay", "--trace", path, "--print-policy"}, strings.Fields(flags)...)
		if strings.Contains(flags, "--strategy") {
			args = append(args[:3], args[4:]...)
		}
		if code, _, stderr := loadtest(t, args...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s", flags, code, stderr)
		}
	}
}
