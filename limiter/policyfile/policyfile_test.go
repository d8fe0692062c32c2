package policyfile

import (
	"slices"
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

// TestWholeNumbers: they may be written with a point or an exponent, as in JSON.
func TestWholeNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"1200": 1200, "1200.0": 1200, "1_200.00": 1200, "1.2e3": 1200, "+1.2E+3": 1200, "1e12": 1e12, "1000000000000.0": 1e12,
	} {
		f, err := Parse("p.yaml", []byte("providers:\n  a:\n    limits:\n      rpm: {scope: key, kind: rate, per: 1m, amount: "+text+"}\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.Providers[0].Policy.Limits[0].Amount; got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"1.5", "1e400", "1e-400", "1.000000000001e12", "0.9999999999999999999999999"} {
		_, err := Parse("p.yaml", []byte("providers:\n  a:\n    limits:\n      rpm: {scope: key, kind: rate, per: 1m, amount: "+text+"}\n"))
		if err == nil || !strings.Contains(err.Error(), "p.yaml:4: a: /limits/rpm/amount: must be a whole number from 1 to 1000000000000") {
			t.Errorf("%s: %v", text, err)
		}
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

// TestWarnsOfGlobsThatMatchNothing: blanks count in a glob, and no model has any at its ends.
func TestWarnsOfGlobsThatMatchNothing(t *testing.T) {
	f, err := Parse("p.yaml", []byte(`providers:
  acme:
    limits:
      day:
        {scope: key, kind: quota, amount: 1, per: day,
         models: [gpt-4o, "gpt 4o", "gpt-4o ", "! o1", " *"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range f.Warnings {
		got = append(got, w.String())
	}
	want := []string{
		`p.yaml:6: acme: /limits/day/models/2: "gpt-4o " matches no model: blanks count, and no model begins or ends with one`,
		`p.yaml:6: acme: /limits/day/models/3: "! o1" matches no model: blanks count, and no model begins or ends with one`,
		`p.yaml:6: acme: /limits/day/models/4: " *" matches no model: blanks count, and no model begins or ends with one`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings:\n%s", strings.Join(got, "\n"))
	}
}
