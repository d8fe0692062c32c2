package policyfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

const keyID = "k_2c26b46b68ffc68ff99b453c1d304134"

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string
		want []string // "line: part of the message"
	}{
		{"empty", "", []string{"1: the file is empty"}},
		{"only a comment", "# nothing\n", []string{"1: the file is empty"}},
		{"null", "---\n", []string{"1: the file is empty"}},
		{"a list", "- a\n", []string{"1: must be a mapping of providers, not a list"}},
		{"no providers", "{}\n", []string{"1: providers is missing"}},
		{"unknown at the top", "version: 1\nproviders: {}\n", []string{`1: unknown member "version"; known here: providers`}},
		{"providers twice", "providers: {}\nproviders: {}\n", []string{"2: the same name is given twice: on line 1 and here"}},
		{"providers a list", "providers: [a]\n", []string{"1: providers: must be a mapping of names to policies, not a list"}},
		{"two documents", "providers: {}\n---\nproviders: {}\n", []string{"2: a second document"}},
		{"tab", "providers:\n\ta: 1\n", []string{"2: malformed YAML: found character that cannot start any token"}},
		{"unclosed", "providers:\n  a: {limits: {}\n", []string{"2: malformed YAML: did not find expected"}},
		{"not a member", "providers:\n  a:\n    limits: {}\n  - b\n", []string{"2: malformed YAML: did not find expected key (in what begins here)"}},
		{"unknown anchor", "providers:\n  a: *b\n", []string{"2: malformed YAML: unknown anchor 'b' referenced"}},
		{"provider twice", "providers:\n  a: {limits: {}}\n  a: {limits: {}}\n",
			[]string{"3: providers: the same name is given twice: on line 2 and here"}},
		{"provider's name", "providers:\n  A: {limits: {}}\n", []string{`2: providers: "A" can't name a provider`}},
		{"provider without policy", "providers:\n  a:\n", []string{"2: a: must be a mapping of on_store_failure"}},
		{"limits missing", "providers:\n\n  a: {hold_ttl: 1m}\n", []string{"3: a: limits is missing"}},
		{"every fault of a limit, in order", `
providers:
  b:
    limits:
      rpm:
        scope: provider
        kind: rate
        per: 1y
        amount: 0
      tpm: {scope: town, kind: rate, amount: 1, per: 1m, colour: red}
    unknown: 1
  a:
    on_store_failure: panic
    limits: {}
`, []string{
			"8: b: /limits/rpm/per: must be a duration",
			"9: b: /limits/rpm/amount: must be a whole number from 1",
			"10: b: /limits/tpm/scope: must be",
			"10: b: /limits/tpm/colour: unknown member",
			"11: b: /unknown: unknown member",
			"13: a: /on_store_failure: must be",
		}},
		{"missing members are told at the limit", `
providers:
  a:
    limits:
      rpm:
        kind: rate
        per: 1m
`, []string{"5: a: /limits/rpm: scope is missing", "5: a: /limits/rpm: amount is missing"}},
		{"numbers", `
providers:
  a:
    limits:
      float:  {scope: key, kind: rate, per: 1m, amount: 1.5}
      exp:    {scope: key, kind: rate, per: 1m, amount: 1e13}
      inf:    {scope: key, kind: rate, per: 1m, amount: .inf}
      nan:    {scope: key, kind: rate, per: 1m, amount: .NaN}
      octal:  {scope: key, kind: rate, per: 1m, amount: 010}
      hex:    {scope: key, kind: rate, per: 1m, amount: 0x10}
      huge:   {scope: key, kind: rate, per: 1m, amount: 99999999999999999999}
      text:   {scope: key, kind: rate, per: 1m, amount: "10"}
      date:   {scope: key, kind: rate, per: 2026-10-01, amount: 10}
`, []string{
			"5: a: /limits/float/amount: must be a whole number from 1 to 1000000000000, not 1.5",
			"6: a: /limits/exp/amount: must be a whole number from 1 to 1000000000000, not 1e13",
			"7: a: /limits/inf/amount: must be a whole number in plain decimal digits, not .inf",
			"8: a: /limits/nan/amount: must be a whole number in plain decimal digits, not .NaN",
			"9: a: /limits/octal/amount: must be a whole number in plain decimal digits, not 010",
			"10: a: /limits/hex/amount: must be a whole number in plain decimal digits, not 0x10",
			"11: a: /limits/huge/amount: must be a whole number from 1 to 1000000000000, not 99999999999999999999",
			"12: a: /limits/text/amount: must be a whole number from 1 to 1000000000000, not a string",
			"13: a: /limits/date/per: must be a duration",
		}},
		{"member twice", `
providers:
  a:
    limits:
      rpm: {scope: key, kind: rate, amount: 1, per: 1m}
      rpm: {scope: key, kind: rate, amount: 2, per: 1m}
    pools: {}
    pools: {}
`, []string{
			"6: a: /limits: the same name is given twice: on line 5 and here",
			"8: a: the same name is given twice: on line 7 and here",
		}},
		{"merge key", `
providers:
  a:
    limits:
      x: &x {scope: key, kind: rate, amount: 1, per: 1m}
      y:
        <<: *x
        amount: 2
`, []string{"7: a: /limits/y: merge keys (<<) are not supported"}},
		{"tag, and a list as a name", `
providers:
  a:
    hold_ttl: !minutes 5
    [x]: 1
    limits: {}
`, []string{"4: a: /hold_ttl: the tag !minutes is not supported", "5: a: the name of a member must be plain text, not a list"}},
		{"deep", "providers: {a: {limits: " + strings.Repeat("[", 30) + strings.Repeat("]", 30) + "}}",
			[]string{"1: a: /limits/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0: is nested more than 16 deep", "1: a: /limits: must be an object"}},
		{"entries", `
providers:
  a:
    limits:
      rpm: {scope: key, kind: rate, amount: 10, per: 1m, strict_window: true}
      rpd: {scope: pool, kind: quota, amount: 10, per: day}
    pools:
      Acme: {}
      acme:
        limits:
          rpm: {amount: 5}
          rpd: {burst: 5}
          rph: {amount: 5}
        pool: b
    keys:
      ` + keyID + `: {limits: {rpm: {burst: 10}}, pool: a/b}
`, []string{
			`8: a: /pools: "Acme" can't name a pool`,
			"11: a: /pools/acme/limits/rpm: is a limit of scope key",
			"12: a: /pools/acme/limits/rpd: only a limit of kind rate has a burst",
			"13: a: /pools/acme/limits/rph: the policy has no limit of this name",
			"14: a: /pools/acme/pool: unknown member; known here: label, limits, disabled",
			"16: a: /keys/" + keyID + "/pool: a pool's name must match",
			"16: a: /keys/" + keyID + "/limits/rpm: strict_window needs burst below amount",
		}},
		{"entries beside a faulty policy", `
providers:
  a:
    limits:
      rpd: {scope: pool, kind: quota, amount: 0, per: day}
    pools:
      acme: {limits: {rpd: {amount: 5}, rph: {amount: 5}}}
      other: {limits: {rpd: 5}}
`, []string{
			"5: a: /limits/rpd/amount: must be",
			"7: a: /pools/acme/limits/rph: the policy has no limit of this name",
			"8: a: /pools/other/limits/rpd: must be an object",
		}},
		{"entries of the wrong form", "providers:\n  a:\n    limits: {}\n    pools: [acme]\n    keys:\n", []string{
			"4: a: /pools: must be a mapping of names to entries, not a list", "5: a: /keys: must be a mapping of key ids to entries, not empty"}},
		{"alias of itself", "providers:\n  a: {limits: {b: &b {models: [*b]}}}\n", []string{
			"2: a: /limits/b/models/0/models/0/models/0/models/0/models/0/models/0/models/0: is nested more than 16 deep",
			"2: a: /limits/b: scope is missing", "2: a: /limits/b: amount is missing", "2: a: /limits/b/models/0: must be a string",
			"2: a: /limits/b: kind is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(tt.text))
			var bad *Error
			if !errors.As(err, &bad) || !errors.Is(err, limiter.ErrInvalid) {
				t.Fatalf("error is %v", err)
			}
			if len(bad.Problems) != len(tt.want) {
				t.Fatalf("want %d faults, got\n%s", len(tt.want), err)
			}
			for i, p := range bad.Problems {
				line, part, _ := strings.Cut(tt.want[i], ": ")
				if fmt.Sprint(p.Line) != line || !strings.HasPrefix(p.Message, part) {
					t.Errorf("want %s, got %s", tt.want[i], p)
				}
			}
		})
	}
}

func TestKeysAreNotShown(t *testing.T) {
	const secret = "sk-or-v1-secret"
	_, err := Parse("p.yaml", []byte(`
providers:
  a:
    limits: {}
    keys:
      sk-or-v1-secret: {label: 5}
      sk-or-v1-secret: {}
`))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Fatalf("error: %v", err)
	}
	for _, want := range []string{"p.yaml:6: a: /keys: the name here is not a key id", "permitd key-id", "p.yaml:6: a: /keys/(not a key id)/label: must be a string"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
}

func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("providers:\n  a:\n    limits: {}\n    x0: &x0 [" + strings.Repeat("1,", 50) + "]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "    x%d: &x%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*x%d,", i-1), 50))
	}
	_, err := Parse("p.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "expand to too much") {
		t.Fatalf("error: %.300v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.yaml")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("providers: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Load(path); err != nil || len(f.Providers) != 0 {
		t.Errorf("no providers: %v, %v", f, err)
	}
	if err := os.WriteFile(path, make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("too large: %v", err)
	}
}
