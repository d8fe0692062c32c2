package limiter

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const entryPolicy = `{"limits":{
	"r":{"scope":"key","kind":"rate","amount":10,"per":"1m"},
	"s":{"scope":"key","kind":"rate","amount":10,"per":"1m","strict_window":true,"burst":5},
	"q":{"scope":"key","kind":"quota","amount":10,"per":"day"},
	"pr":{"scope":"pool","kind":"rate","amount":10,"per":"1m"},
	"all":{"scope":"provider","kind":"rate","amount":10,"per":"1m"}}}`

func parseEntry(t *testing.T, kind EntryKind, doc string) (*Entry, error) {
	t.Helper()
	p, err := ParsePolicy([]byte(entryPolicy))
	if err != nil {
		t.Fatal(err)
	}
	return ParseEntry(kind, []byte(doc), p)
}

func TestEntryIsRefusedWithEveryFaultByItsPointer(t *testing.T) {
	for _, c := range []struct {
		kind EntryKind
		doc  string
		want []string
	}{
		{KeyEntry, `{`, []string{""}},
		{KeyEntry, `null`, []string{""}},
		{KeyEntry, `{"label":5,"pool":"A","disabled":"no","limits":[],"extra":1}`, []string{"/disabled", "/extra", "/label", "/limits", "/pool"}},
		{KeyEntry, `{"label":null,"pool":null,"disabled":null,"limits":null}`, []string{"/disabled", "/label", "/limits", "/pool"}},
		{KeyEntry, `{"label":"a","label":"b"}`, []string{"/label"}},
		{KeyEntry, `{"label":"` + strings.Repeat("l", 201) + `"}`, []string{"/label"}},
		{KeyEntry, `{"label":"a\nb"}`, []string{"/label"}},
		{KeyEntry, `{"pool":""}`, []string{"/pool"}},
		{PoolEntry, `{"pool":"acme"}`, []string{"/pool"}},
		{KeyEntry, `{"limits":{"nope":{"amount":1}}}`, []string{"/limits/nope"}},
		{KeyEntry, `{"limits":{"a/b~":{"amount":1}}}`, []string{"/limits/a~1b~0"}},
		{KeyEntry, `{"limits":{"pr":{"amount":1}}}`, []string{"/limits/pr"}},
		{KeyEntry, `{"limits":{"all":{"amount":1}}}`, []string{"/limits/all"}},
		{PoolEntry, `{"limits":{"r":{"amount":1},"all":{"amount":1}}}`, []string{"/limits/all", "/limits/r"}},
		{KeyEntry, `{"limits":{"r":null}}`, []string{"/limits/r"}},
		{KeyEntry, `{"limits":{"r":5}}`, []string{"/limits/r"}},
		{KeyEntry, `{"limits":{"r":{"amount":0,"burst":0,"per":"0s","mode":"off","scope":"key"}}}`,
			[]string{"/limits/r/amount", "/limits/r/burst", "/limits/r/mode", "/limits/r/per", "/limits/r/scope"}},
		{KeyEntry, `{"limits":{"r":{"amount":1.5,"burst":1e400,"per":5,"mode":null}}}`,
			[]string{"/limits/r/amount", "/limits/r/burst", "/limits/r/mode", "/limits/r/per"}},
		{KeyEntry, `{"limits":{"r":{"amount":1,"amount":1}}}`, []string{"/limits/r/amount"}},
		{KeyEntry, `{"limits":{"r":{"per":"day"}}}`, []string{"/limits/r"}},
		{KeyEntry, `{"limits":{"q":{"per":"1h"}}}`, []string{"/limits/q"}},
		{KeyEntry, `{"limits":{"q":{"per":"year"}}}`, []string{"/limits/q/per"}},
		{KeyEntry, `{"limits":{"q":{"burst":5}}}`, []string{"/limits/q"}},
		{KeyEntry, `{"limits":{"s":{"burst":10}}}`, []string{"/limits/s"}},
		{KeyEntry, `{"limits":{"s":{"amount":5}}}`, []string{"/limits/s"}},
	} {
		e, err := parseEntry(t, c.kind, c.doc)
		if got := faultsOf(t, err); !slices.Equal(got, c.want) || e != nil {
			t.Errorf("%s: %s\n got %q\nwant %q (%v)", c.kind, c.doc, got, c.want, err)
		}
	}
}

func TestEntryIsReadAndKeptAsWritten(t *testing.T) {
	doc := `{"disabled":true, "label":"prod", "limits":{"s":{"burst":3},"r":{"amount":500,"per":"2d","mode":"shadow"},"q":{"per":"hour"}}, "pool":"acme"}`
	e, err := parseEntry(t, KeyEntry, doc)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Body()) != strings.ReplaceAll(doc, ", ", ",") {
		t.Errorf("body %s", e.Body())
	}
	if e.Label != "prod" || e.Pool != "acme" || !e.Disabled || e.Kind != KeyEntry {
		t.Errorf("%+v", e)
	}
	want := []Override{{Limit: "q", Period: Hour}, {Limit: "r", Amount: 500, Per: 2 * day, Mode: Shadow}, {Limit: "s", Burst: 3}}
	if !slices.Equal(e.Overrides, want) {
		t.Errorf("overrides %+v", e.Overrides)
	}
	for _, doc := range []string{`{}`, `{"label":""}`, `{"limits":{}}`, `{"limits":{"r":{}}}`, `{"label":"` + strings.Repeat("é", 200) + `"}`} {
		if _, err := parseEntry(t, KeyEntry, doc); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// TestOverrideChangesOnlyWhatItNames pins what is left to the policy, burst by default among it.
func TestOverrideChangesOnlyWhatItNames(t *testing.T) {
	for _, c := range []struct {
		limit, override string
		want            string
	}{
		{"r", `{}`, "10 10 1m0s enforce"},
		{"r", `{"amount":500}`, "500 500 1m0s enforce"}, // no burst was named: it goes with the amount
		{"r", `{"burst":3}`, "10 3 1m0s enforce"},
		{"r", `{"per":"1s"}`, "10 10 1s enforce"},
		{"r", `{"mode":"shadow"}`, "10 10 1m0s shadow"},
		{"s", `{"amount":500}`, "500 5 1m0s enforce"}, // the policy names one: it stays
		{"q", `{"amount":3,"per":"hour"}`, "3 3 0s enforce"},
	} {
		d := &tuned{tb: t}
		d.setPolicy(noon, entryPolicy)
		d.setEntry(noon, `{"limits":{"`+c.limit+`":`+c.override+`}}`)
		v, err := newPolicyView("acme", d.policy)
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEntryView(keyDoc, d.entry)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(v.policy.Limits, func(l *Limit) bool { return l.Name == c.limit })
		l := e.terms(v, i).Limit
		if got := fmt.Sprint(l.Amount, l.Burst, l.Per, " ", l.Mode); got != c.want {
			t.Errorf("%s over %s: %s, want %s", c.override, c.limit, got, c.want)
		}
		if base := v.policy.Limits[i]; base.Amount != 10 || base.Mode != Enforce {
			t.Errorf("%s over %s changed the policy: %+v", c.override, c.limit, base)
		}
	}
}
