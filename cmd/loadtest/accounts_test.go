package main

import (
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter/policyfile"
)

// Each local strategy on limits that hardly fill up again, with clients that give up when they are refused: none runs into
// both limits of the provider, those that keep the same limits into neither.
func TestReplayWithAccounts(t *testing.T) {
	path := writeTrace(t, 400, 90*time.Second) // 39,509 tokens
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"own accounts", []string{"--mock-burst=20000", "--burst=10000", "--account-capacity=0.1x"}},
		{"few accounts", []string{"--mock-burst=20000", "--burst=10000", "--account-capacity=0.5x", "--accounts=3"}},
		{"windows", []string{"--mock=window", "--burst=0.5x", "--slack=300ms", "--capacity=20000", "--account-capacity=0.5x", "--accounts=3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"replay", "--trace", path, "--speed=300", "--per=1000h", "--capacity=40000", "--patience=0s", "--strategy=permitd,none,split", "--replicas=2",
				"--assert=none:upstream_429_account>0", "--assert=none:upstream_429_platform>0", "--assert=permitd:denied>0", "--assert=permitd:tokens_admitted>9000", "--assert=split:gave_up>0"}
			for _, strategy := range []string{"permitd", "split"} {
				args = append(args, "--assert="+strategy+":upstream_429=0", "--assert="+strategy+":failed=0", "--assert="+strategy+":tokens_admitted<10200")
			}
			code, stdout, stderr := loadtest(t, append(args, tt.args...)...)
			if code != exitOK || !strings.Contains(stdout, "; for each account ") {
				t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
			}
		})
	}
}

func TestAccountsOfKeys(t *testing.T) {
	keys := &trace{rows: []row{{Key: "x", Provider: "other"}, {Key: "a"}, {Key: "b"}, {Key: "a"}, {Key: "c"}, {Key: "d"}}}
	p := &providerPlan{}
	p.pools = (&loadFlags{Accounts: 2}).dealAccounts(keys, "")
	var got []string
	for _, r := range keys.rows[1:] {
		got = append(got, p.account(r.Key))
	}
	if all := strings.Join(got, " "); all != "account-1 account-2 account-1 account-1 account-2" {
		t.Errorf("accounts %s", all)
	}
	p.pools = (&loadFlags{}).dealAccounts(keys, "")
	if a, b := p.account("a"), p.account("b"); a == b || strings.Contains(a, "account") || len(p.pools) != 0 {
		t.Errorf("accounts %s and %s", a, b)
	}
}

// A permitd without the pools of keys would count each key apart.
func TestReplayNeedsItsAccounts(t *testing.T) {
	replay := []string{"replay", "--trace", writeTrace(t, 3, time.Second), "--capacity=10000", "--account-capacity=1x", "--accounts=1"}
	code, policy, _ := loadtest(t, append(replay, "--print-policy")...)
	if code != exitOK || !strings.Contains(policy, "{pool: account-1}") {
		t.Fatalf("exit %d\n%s", code, policy)
	}
	without, _, _ := strings.Cut(policy, keysOfPolicy)
	for text, warned := range map[string]bool{policy: false, without: true} {
		policies, err := policyfile.Parse("test", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		url, stop, err := startPermitd(t.Context(), policies)
		if err != nil {
			t.Fatal(err)
		}
		code, _, stderr := loadtest(t, append(replay, "--permitd", url, "--assert=served=3")...)
		stop()
		if code != exitOK || strings.Contains(stderr, "has other pools of keys for replay") != warned || strings.Contains(stderr, "warning") != warned {
			t.Errorf("exit %d, %s\n%s", code, stderr, text)
		}
	}
}

func TestShownPolicyHasNoKeys(t *testing.T) {
	c := &loadFlags{Accounts: 2}
	limits := []ownLimit{{name: "tokens", scope: "provider", amount: 1, per: time.Second, burst: 1}}
	keys := &trace{rows: []row{{Key: "x", Provider: "a"}, {Key: "y", Provider: "a"}, {Key: "x", Provider: "b"}}}
	p := &plan{policyText: "providers:\n"}
	for _, name := range []string{"a", "b"} {
		p.policyText += ownPolicy(name, limits, c.dealAccounts(keys, name))
	}
	const limit = "    limits:\n      tokens: {scope: provider, kind: rate, unit: tokens, amount: 1, per: 1s, burst: 1}\n"
	want := "providers:\n  a:\n" + limit + "    # and keys: pools of 2 keys, which --print-policy shows\n  b:\n" + limit + "    # and keys: pools of 1 keys, which --print-policy shows\n"
	if got := c.shownPolicy(p); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
