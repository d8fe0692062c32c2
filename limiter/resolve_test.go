package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const scopesPolicy = `{"limits":{
	"a-all":{"scope":"provider","kind":"rate","amount":100,"per":"1m"},
	"b-pool":{"scope":"pool","kind":"rate","amount":100,"per":"1m"},
	"c-key":{"scope":"key","kind":"rate","amount":100,"per":"1m"},
	"d-free":{"scope":"key","kind":"quota","amount":100,"per":"day","models":["*:free","!x/*"]},
	"e-model":{"scope":"provider","kind":"rate","amount":100,"per":"1m","per_model":true}}}`

func TestLimitsOfEveryScopeApplyToTheirSubjects(t *testing.T) {
	for _, c := range []struct {
		entry, model string
		want         []string
	}{
		{``, "m", []string{"a-all   1", "b-pool KEY  1", "c-key KEY  1", "e-model  m 1"}},
		{`{"pool":"acme"}`, "m", []string{"a-all   1", "b-pool p/acme  1", "c-key KEY  1", "e-model  m 1"}},
		{``, "m:free", []string{"a-all   1", "b-pool KEY  1", "c-key KEY  1", "d-free KEY  1", "e-model  m:free 1"}},
		{``, "x/m:free", []string{"a-all   1", "b-pool KEY  1", "c-key KEY  1", "e-model  x/m:free 1"}},
	} {
		s := newShelf(t, scopesPolicy)
		if c.entry != "" {
			s.entry(KeyEntry, keyID, c.entry)
		}
		d, err := s.ask(New(s), c.model)
		if err != nil || !d.Allowed || d.KeyID != keyID || d.Revision != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		got := strings.ReplaceAll(strings.Join(s.lines(), "\n"), keyID, "KEY")
		if want := strings.Join(c.want, "\n"); got != want {
			t.Errorf("entry %s, model %s:\n%s\nwant\n%s", c.entry, c.model, got, want)
		}
	}
}

func TestAskMustNameItsModelWhereAnEnforcedLimitLooksAtIt(t *testing.T) {
	for more, want := range map[string]struct {
		refused bool
		lines   int
	}{
		`"models":["*:free"]`:                 {true, 0},
		`"models":["!x"]`:                     {true, 0},
		`"per_model":true`:                    {true, 0},
		`"per_model":true,"mode":"shadow"`:    {false, 0},
		`"models":["*:free"],"mode":"shadow"`: {false, 0},
		`"mode":"shadow"`:                     {false, 1},
	} {
		s := newShelf(t, oneLimit(more))
		_, err := s.ask(New(s), "")
		if refused := slices.Equal(faultsOf(t, err), []string{"/model"}); refused != want.refused || refused != (err != nil) {
			t.Errorf("%s: %v", more, err)
		}
		if lines := s.lines(); len(lines) != want.lines {
			t.Errorf("%s: lines %q", more, lines)
		}
	}
	// The mode that counts is that of the key.
	s := newShelf(t, oneLimit(`"per_model":true`))
	s.entry(KeyEntry, keyID, `{"limits":{"l":{"mode":"shadow"}}}`)
	if _, err := s.ask(New(s), ""); err != nil {
		t.Errorf("shadow for this key: %v", err)
	}
}

func TestAskCostsWhatTheLimitCounts(t *testing.T) {
	for _, c := range []struct {
		limit string
		cost  []Cost
		want  int64
	}{
		{``, nil, 1},
		{``, []Cost{{"requests", 3}}, 3},
		{``, []Cost{{"requests", 0}}, 0},
		{``, []Cost{{"tokens", 3}}, 1},
		{`"counts":{"requests":5}`, nil, 5},
		{`"unit":"tokens"`, nil, 0},
		{`"unit":"tokens"`, []Cost{{"tokens", 7}}, 7},
		{`"unit":"tokens","default_cost":9`, nil, 9},
		{`"unit":"tokens","default_cost":9`, []Cost{{"requests", 2}}, 9},
		{`"unit":"tokens","default_cost":9`, []Cost{{"tokens", 7}}, 7},
		{`"unit":"tokens","default_cost":9`, []Cost{{"tokens", 0}}, 0},
		{`"unit":"tokens","counts":{"in":1,"out":4}`, []Cost{{"in", 10}, {"out", 3}, {"other", 5}}, 22},
		{`"unit":"tokens","counts":{"in":1,"out":4},"reserve_counts":{"in":2}`, []Cost{{"in", 10}, {"out", 3}}, 20},
		{`"unit":"tokens","counts":{"in":1,"out":4},"reserve_counts":{"in":2},"default_cost":5`, []Cost{{"out", 3}}, 0},
		{`"unit":"tokens","counts":{"in":1,"requests":4},"default_cost":5`, nil, 4},
		{`"unit":"tokens","counts":{"in":1,"requests":4}`, []Cost{{"requests", 2}, {"in", 1}}, 9},
		{`"unit":"tokens","counts":{"in":0,"out":1},"default_cost":5`, []Cost{{"in", 10}}, 0},
	} {
		s := newShelf(t, oneLimit(`"amount":1000`+strings.TrimRight(","+c.limit, ",")))
		d, err := s.ask(New(s), "", c.cost...)
		if err != nil || len(d.Limits) != 1 || d.Limits[0].Cost != c.want {
			t.Errorf("%s for %v: %+v, %v; want %d", c.limit, c.cost, d, err, c.want)
		}
	}
}

func TestCostsThatWouldOverflowAreMoreThanAnyLimitAdmits(t *testing.T) {
	var counts []string
	var cost []Cost
	for i := range MaxUnitsPerAsk {
		counts = append(counts, fmt.Sprintf(`"u%d":1000`, i))
		cost = append(cost, Cost{fmt.Sprintf("u%d", i), MaxAmount})
	}
	s := newShelf(t, oneLimit(`"amount":1000000000000,"counts":{`+strings.Join(counts, ",")+`}`))
	_, err := s.ask(New(s), "", cost...)
	var exceeds *CostError
	if !errors.As(err, &exceeds) || exceeds.Cost <= MaxAmount || exceeds.Most != MaxAmount {
		t.Errorf("%v", err)
	}
}

func TestUnitsThatNoLimitCountsAreNamed(t *testing.T) {
	s := newShelf(t, `{"limits":{
		"a":{"scope":"key","kind":"rate","amount":100,"per":"1m","unit":"tokens","counts":{"in":1,"out":0},"reserve_counts":{"hint":1}},
		"b":{"scope":"key","kind":"rate","amount":100,"per":"1m","mode":"shadow","counts":{"images":1}}}}`)
	d, err := s.ask(New(s), "", Cost{"in", 1}, Cost{"zebras", 1}, Cost{"out", 1}, Cost{"hint", 1}, Cost{"images", 1}, Cost{"requests", 1})
	if err != nil || !slices.Equal(d.IgnoredUnits, []string{"zebras", "requests"}) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestCostThatNeverFitsIsAnErrorUnlessTheLimitIsAShadow(t *testing.T) {
	for _, c := range []struct {
		limit, entry string
		cost, most   int64 // most 0: no error
	}{
		{`"burst":5`, ``, 5, 0},
		{`"burst":5`, ``, 6, 5},
		{`"burst":5,"mode":"shadow"`, ``, 6, 0},
		{`"kind":"quota","per":"day","amount":5`, ``, 6, 5},
		{`"kind":"quota","per":"day","amount":5`, ``, 5, 0},
		{`"burst":5`, `{"limits":{"l":{"burst":6}}}`, 6, 0},
		{`"burst":5`, `{"limits":{"l":{"burst":2}}}`, 3, 2},
		{`"burst":5`, `{"limits":{"l":{"mode":"shadow"}}}`, 6, 0},
		{`"burst":5,"mode":"shadow"`, `{"limits":{"l":{"mode":"enforce"}}}`, 6, 5},
	} {
		s := newShelf(t, oneLimit(c.limit))
		if c.entry != "" {
			s.entry(KeyEntry, keyID, c.entry)
		}
		_, err := s.ask(New(s), "", Cost{"requests", c.cost})
		var exceeds *CostError
		switch {
		case c.most == 0 && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.most > 0 && (!errors.As(err, &exceeds) || !errors.Is(err, ErrCostExceedsLimit) || *exceeds != CostError{"l", "requests", c.cost, c.most}):
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestDisabledAndUnknownKeysAreRefused(t *testing.T) {
	deny := strings.Replace(oneLimit(""), "{", `{"unknown_keys":"deny",`, 1)
	for name, c := range map[string]struct {
		policy    string
		key, pool string
		erase     bool
		want      error
	}{
		"no entry, allowed":       {oneLimit(""), "", "", false, nil},
		"no entry, denied":        {deny, "", "", false, ErrUnknownKey},
		"entry":                   {deny, `{}`, "", false, nil},
		"entry that was deleted":  {deny, `{}`, "", true, ErrUnknownKey},
		"disabled":                {deny, `{"disabled":true}`, "", false, ErrKeyDisabled},
		"disabled, then deleted":  {oneLimit(""), `{"disabled":true}`, "", true, nil},
		"pool without entry":      {deny, `{"pool":"p"}`, "", false, nil},
		"pool":                    {deny, `{"pool":"p"}`, `{}`, false, nil},
		"disabled pool":           {deny, `{"pool":"p"}`, `{"disabled":true}`, false, ErrKeyDisabled},
		"another pool's disabled": {deny, `{"pool":"other"}`, `{"disabled":true}`, false, nil},
	} {
		s := newShelf(t, c.policy)
		if c.key != "" {
			s.entry(KeyEntry, keyID, c.key)
		}
		if c.pool != "" {
			s.entry(PoolEntry, "p", c.pool)
		}
		if c.erase {
			s.erase(DocID{"acme", KeyEntry, keyID})
		}
		d, err := s.ask(New(s), "")
		if !errors.Is(err, c.want) || (d == nil) != (c.want != nil) {
			t.Errorf("%s: %+v, %v; want %v", name, d, err, c.want)
		}
		if c.want != nil && len(s.asked[len(s.asked)-1].Lines) > 0 {
			t.Errorf("%s: a refused ask would be charged", name)
		}
	}
}

func TestMoreThanSixteenLimitsForOneModelAreRefused(t *testing.T) {
	var limits []string
	for i := range 17 {
		limits = append(limits, fmt.Sprintf(`"l%02d":{"scope":"key","kind":"rate","amount":1,"per":"1s","models":["m*","!m%d"]}`, i, i))
	}
	s := newShelf(t, `{"limits":{`+strings.Join(limits, ",")+`}}`)
	c := New(s)
	if _, err := s.ask(c, "m"); !slices.Equal(faultsOf(t, err), []string{"/model"}) {
		t.Errorf("17 limits: %v", err)
	}
	if d, err := s.ask(c, "m3"); err != nil || len(d.Limits) != 16 {
		t.Errorf("16 limits: %v", err)
	}
}

func TestAskIsRefusedWithEveryFaultByItsPointer(t *testing.T) {
	long := strings.Repeat("x", MaxKeyLen+1)
	var many Costs
	for i := range 33 {
		many = append(many, Cost{fmt.Sprintf("u%d", i), 1})
	}
	s := newShelf(t, oneLimit(""))
	for _, c := range []struct {
		ask  Ask
		want []string
	}{
		{Ask{}, []string{"/key", "/provider"}},
		{Ask{Provider: "A", Key: "k", KeyID: keyID}, []string{"/key_id", "/provider"}},
		{Ask{Provider: "a", KeyID: "k_xyz"}, []string{"/key_id"}},
		{Ask{Provider: "a", KeyID: strings.ToUpper(keyID)}, []string{"/key_id"}},
		{Ask{Provider: "a", Key: long}, []string{"/key"}},
		{Ask{Provider: "a", Key: "a\x00b"}, []string{"/key"}},
		{Ask{Provider: "a", Key: "\xff"}, []string{"/key"}},
		{Ask{Provider: "a", Key: "k", Model: long[:257]}, []string{"/model"}},
		{Ask{Provider: "a", Key: "k", Model: "a\nb"}, []string{"/model"}},
		{Ask{Provider: "a", Key: "k", Cost: Costs{{"A", 1}, {"b", -1}, {"c", MaxAmount + 1}, {"d", 1}, {"d", 1}}}, []string{"/cost/A", "/cost/b", "/cost/c", "/cost/d"}},
		{Ask{Provider: "a", Key: "k", Cost: many}, []string{"/cost"}},
	} {
		if _, err := New(s).Acquire(context.Background(), c.ask); !slices.Equal(faultsOf(t, err), c.want) {
			t.Errorf("%+v: %v, want faults at %q", c.ask, err, c.want)
		}
	}
	if len(s.asked) > 0 {
		t.Error("an invalid ask reached the store")
	}
	if _, err := New(s).Acquire(context.Background(), Ask{Provider: "acme", Key: long[:MaxKeyLen], Model: long[:256], Cost: Costs{{"a", 0}, {"requests", 10}}}); err != nil {
		t.Errorf("at the bounds: %v", err)
	}
}

func TestKeyAndItsIDAreTheSameSubject(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	for _, ask := range []Ask{{Provider: "acme", Key: "sk-1"}, {Provider: "acme", KeyID: keyID}} {
		if _, err := New(s).Acquire(context.Background(), ask); err != nil {
			t.Fatal(err)
		}
		last := s.asked[len(s.asked)-1]
		if last.KeyID != keyID || last.Lines[0].Subject != keyID || strings.Contains(fmt.Sprintf("%+v", last), "sk-1") {
			t.Errorf("%+v", last)
		}
	}
	if want := "k_0f2c10bf3d128c719c6bfa4ecbae94b7"; keyID != want || !ValidKeyID(keyID) {
		t.Errorf("key id %q, want %q", keyID, want)
	}
}
