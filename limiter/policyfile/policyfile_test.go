package policyfile

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func TestParse(t *testing.T) {
	f, err := Parse("p.yaml", []byte(`
providers:
  zeta: {limits: {}}
  acme:
    unknown_keys: deny
    keys:
      k_2c26b46b68ffc68ff99b453c1d304134: {label: 2026-10-01, pool: paid}
    limits:
      tpm: &tpm
        {scope: pool, kind: rate, unit: tokens, amount: 1_000, per: 1m, strict_window: true, models: ["a/*", '!b']}
      rpm: {scope: key, kind: rate, amount: 20, per: 1m}
      named: {scope: key, kind: rate, amount: 20, per: 1m, burst: 2}
      copy: *tpm
    pools:
      paid: {limits: {tpm: {amount: 5000}}, disabled: false}
      free: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Providers) != 2 || f.Providers[0].Provider != "acme" || f.Providers[1].Provider != "zeta" {
		t.Fatalf("providers: %+v", f.Providers)
	}
	const tpm = `{"scope":"pool","kind":"rate","unit":"tokens","amount":1000,"per":"1m","strict_window":true,"models":["a/*","!b"]}`
	want := `{"unknown_keys":"deny","limits":{"tpm":` + tpm + `,"rpm":{"scope":"key","kind":"rate","amount":20,"per":"1m"},"named":{"scope":"key","kind":"rate","amount":20,"per":"1m","burst":2},"copy":` + tpm + `}}`
	if got := string(f.Providers[0].Policy.Body()); got != want {
		t.Errorf("policy:\n%s\nwant\n%s", got, want)
	}
	var entries []string
	for _, e := range f.Providers[0].Entries {
		entries = append(entries, string(e.Entry.Kind)+" "+e.Name+" "+string(e.Entry.Body()))
	}
	if got, want := strings.Join(entries, "\n"), `pool free {}
pool paid {"limits":{"tpm":{"amount":5000}},"disabled":false}
key `+keyID+` {"label":"2026-10-01","pool":"paid"}`; got != want {
		t.Errorf("entries:\n%s\nwant\n%s", got, want)
	}
	if len(f.Warnings) != 1 || f.Warnings[0].String() != "p.yaml:11: acme: /limits/rpm: up to 40 requests may be admitted within one 1m "+
		"(amount 20, and as much at once, because no burst is named); name burst, or if no 1m may see more than 20, add strict_window: true" {
		t.Errorf("warnings: %v", f.Warnings)
	}
}

// FuzzParse: nothing panics, faults have lines of the file, and what parses holds documents that limiter takes.
func FuzzParse(f *testing.F) {
	f.Add(starter)
	f.Add([]byte("providers: {a: {limits: {x: &x {scope: key, kind: rate, amount: 1, per: 1d}, y: *x}, pools: {p: {label: \"\\0\"}}}}"))
	f.Add([]byte("providers: {a: &a {limits: *a, keys: {<<: *a}}}"))
	f.Add([]byte("providers:\n  ? [a]\n  : !!binary aGk=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("p.yaml", data)
		if err != nil {
			last := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u0085") +
				strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029") + 2
			problems := err.(*Error).Problems
			for i, p := range problems {
				if p.Line < 1 || p.Line > last || p.Message == "" || i > 0 && p.Line < problems[i-1].Line {
					t.Errorf("problem %d of %d: %s", i, len(problems), p)
				}
			}
			return
		}
		for _, p := range file.Providers {
			policy, err := limiter.ParsePolicy(p.Policy.Body())
			if err != nil {
				t.Fatalf("%s: %v", p.Provider, err)
			}
			for _, e := range p.Entries {
				if _, err := limiter.ParseEntry(e.Entry.Kind, e.Entry.Body(), policy); err != nil {
					t.Errorf("%s %s: %v", p.Provider, e.Name, err)
				}
			}
		}
	})
}
