package limiter

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// tokensPolicy counts tokens by their sum for two models, and requests in shadow for all, with more members on top.
func tokensPolicy(members, tpm string) string {
	return `{` + members + `"limits":{
		"tpm":{"scope":"key","kind":"rate","unit":"tokens","counts":{"input_tokens":1,"output_tokens":4},"amount":1000,"per":"1m",
			"models":["gpt-4o","gpt-4o-2*"]` + tpm + `},
		"images":{"scope":"key","kind":"rate","unit":"images","amount":1000,"per":"1m","models":["dall-e"]},
		"all":{"scope":"provider","kind":"rate","amount":1000,"per":"1m","mode":"shadow"}}}`
}

func TestAnAskMayNameTheLimitsOwnUnit(t *testing.T) {
	const apart = `"unit":"tokens","counts":{"in":1,"out":4}`
	for _, c := range []struct {
		limit   string
		cost    []Cost
		want    int64
		ignored []string
	}{
		{apart, []Cost{{"tokens", 500}}, 500, nil},
		{apart, []Cost{{"tokens", 500}, {"in", 10}, {"out", 1}}, 514, nil},
		{apart + `,"default_cost":9`, []Cost{{"tokens", 0}}, 0, nil},
		{`"unit":"tokens","counts":{"in":1,"tokens":3}`, []Cost{{"tokens", 5}}, 15, nil},
		{`"unit":"tokens","counts":{"in":1,"tokens":0}`, []Cost{{"tokens", 5}}, 0, nil},
		{apart + `,"reserve_counts":{"in":2}`, []Cost{{"tokens", 5}}, 5, nil},
		{apart + `,"reserve_counts":{"tokens":2}`, []Cost{{"tokens", 5}}, 10, nil},
		{`"unit":"out","counts":{"out":1},"reserve_counts":{}`, []Cost{{"out", 5}}, 0, nil},
		{`"unit":"out","reserve_counts":{"in":1}`, []Cost{{"out", 5}}, 0, nil},
		// Every ask names requests: they count where they are weighed, whether an ask says that there is one or not.
		{`"counts":{"in":1}`, []Cost{{"in", 10}}, 10, nil},
		{`"counts":{"in":1}`, []Cost{{"in", 10}, {"requests", 1}}, 10, []string{"requests"}},
		{`"unit":"tokens","counts":{"in":1,"requests":0},"default_cost":7`, nil, 7, nil},
	} {
		s := newShelf(t, oneLimit(`"amount":1000,`+c.limit))
		d, err := s.ask(New(s), "", c.cost...)
		if err != nil || d.Limits[0].Cost != c.want || !slices.Equal(d.IgnoredUnits, c.ignored) {
			t.Errorf("%s for %v: %+v, %v; want %d", c.limit, c.cost, d, err, c.want)
		}
	}
}

func TestAnAskThatNamesNoUnitIsToldApart(t *testing.T) {
	for _, c := range []struct {
		tpm  string
		cost []Cost
		want bool
	}{
		{``, nil, true},
		{``, []Cost{{"requests", 3}}, true},
		{``, []Cost{{"prompt_tokens", 5000}}, true},
		{`,"default_cost":9`, nil, true},
		{`,"required":true,"mode":"shadow"`, nil, true},
		{``, []Cost{{"input_tokens", 0}}, false},
		{``, []Cost{{"tokens", 1}}, false},
		{`,"reserve_counts":{"hint":1}`, []Cost{{"hint", 1}}, false},
	} {
		s := newShelf(t, tokensPolicy("", c.tpm))
		d, err := s.ask(New(s), "gpt-4o", c.cost...)
		if err != nil {
			t.Errorf("%s for %v: %v", c.tpm, c.cost, err)
			continue
		}
		for _, l := range d.Limits {
			if want := c.want && l.Name == "tpm"; l.Unweighed != want {
				t.Errorf("%s for %v: %s %+v", c.tpm, c.cost, l.Name, l)
			}
		}
	}
}

func TestARequiredLimitRefusesAnAskThatNamesNoneOfItsUnits(t *testing.T) {
	for _, c := range []struct {
		tpm, entry, model string
		cost              []Cost
		refused           bool
	}{
		{`,"required":true`, ``, "gpt-4o", nil, true},
		{`,"required":true`, ``, "gpt-4o", []Cost{{"requests", 1}, {"prompt_tokens", 5000}}, true},
		{`,"required":true,"default_cost":9`, ``, "gpt-4o", nil, true},
		{`,"required":true`, ``, "gpt-4o", []Cost{{"output_tokens", 0}}, false},
		{`,"required":true`, ``, "gpt-4o", []Cost{{"tokens", 7}}, false},
		{`,"required":true`, ``, "dall-e", nil, false}, // it does not apply
		{`,"required":true,"mode":"shadow"`, ``, "gpt-4o", nil, false},
		{`,"required":true`, `{"limits":{"tpm":{"mode":"shadow"}}}`, "gpt-4o", nil, false},
		{`,"required":true,"mode":"shadow"`, `{"limits":{"tpm":{"mode":"enforce"}}}`, "gpt-4o", nil, true},
		{`,"required":false`, ``, "gpt-4o", nil, false},
	} {
		s := newShelf(t, tokensPolicy("", c.tpm))
		if c.entry != "" {
			s.entry(KeyEntry, keyID, c.entry)
		}
		_, err := s.ask(New(s), c.model, c.cost...)
		if refused := slices.Equal(faultsOf(t, err), []string{"/cost"}); refused != c.refused || refused != (err != nil) {
			t.Errorf("%+v: %v", c, err)
		}
		if !c.refused {
			continue
		}
		if text := err.Error(); !strings.Contains(text, "tpm") || !strings.Contains(text, "input_tokens, output_tokens or tokens") {
			t.Errorf("%+v: %v", c, err)
		}
		var units *UnitsError
		if !errors.As(err, &units) || !slices.Equal(units.Unweighed, []string{"tpm"}) {
			t.Errorf("%+v: %#v", c, units)
		}
	}
}

func TestRequestsAreAlwaysNamed(t *testing.T) {
	s := newShelf(t, oneLimit(`"required":true`))
	if d, err := s.ask(New(s), ""); err != nil || d.Limits[0].Unweighed {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestUnknownModels(t *testing.T) {
	for _, c := range []struct {
		policy, model string
		unknown       bool
	}{
		{tokensPolicy(`DENY`, ``), "gpt-4o", false},
		{tokensPolicy(`DENY`, ``), "gpt-4o-2024", false},
		{tokensPolicy(`DENY`, `,"mode":"shadow"`), "gpt-4o", false},
		{tokensPolicy(`DENY`, ``), "gtp-4o", true},
		{tokensPolicy(`DENY`, ``), "GPT-4o", true},
		{`{DENY"limits":{"l":{"scope":"key","kind":"rate","amount":10,"per":"1m","models":["!o1"]}}}`, "o1", true},
		{`{DENY"limits":{"l":{"scope":"key","kind":"rate","amount":10,"per":"1m","models":["!o1"]}}}`, "o3", false},
		{`{DENY"limits":{"l":{"scope":"key","kind":"rate","amount":10,"per":"1m","per_model":true}}}`, "gtp-4o", false},
		{`{DENY"limits":{}}`, "gtp-4o", false},
	} {
		for _, how := range []string{``, `"unknown_models":"allow",`, `"unknown_models":"deny",`} {
			s := newShelf(t, strings.Replace(c.policy, "DENY", how, 1))
			d, err := s.ask(New(s), c.model)
			switch {
			case c.unknown && strings.Contains(how, "deny"):
				if !errors.Is(err, ErrUnknownModel) {
					t.Errorf("%s %s: %+v, %v", c.model, how, d, err)
				}
			case err != nil || d.UnknownModel != c.unknown:
				t.Errorf("%s %s: %+v, %v", c.model, how, d, err)
			}
		}
	}
}

func TestUnknownModelsMustBeNamedToBeTold(t *testing.T) {
	const shadow = `"limits":{"l":{"scope":"key","kind":"rate","amount":10,"per":"1m","mode":"shadow","models":["gpt-4o"]}}}`
	s := newShelf(t, `{"unknown_models":"deny",`+shadow)
	if _, err := s.ask(New(s), ""); !slices.Equal(faultsOf(t, err), []string{"/model"}) {
		t.Errorf("%v", err)
	}
	s = newShelf(t, `{`+shadow)
	if d, err := s.ask(New(s), ""); err != nil || d.UnknownModel {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestUnknownUnits(t *testing.T) {
	for _, c := range []struct {
		cost             []Cost
		ignored, unknown []string
	}{
		{[]Cost{{"input_tokens", 1}, {"tokens", 1}}, nil, nil},
		{[]Cost{{"prompt_tokens", 5000}}, []string{"prompt_tokens"}, []string{"prompt_tokens"}},
		{[]Cost{{"images", 1}, {"zebras", 1}, {"input_tokens", 1}}, []string{"images", "zebras"}, []string{"zebras"}}, // images count for dall-e
		{[]Cost{{"requests", 1}}, nil, nil},
	} {
		for _, how := range []string{``, `"unknown_units":"ignore",`, `"unknown_units":"deny",`} {
			s := newShelf(t, tokensPolicy(how, ""))
			d, err := s.ask(New(s), "gpt-4o", c.cost...)
			if len(c.unknown) == 0 || !strings.Contains(how, "deny") {
				if err != nil || !slices.Equal(d.IgnoredUnits, c.ignored) || !slices.Equal(d.UnknownUnits, c.unknown) {
					t.Errorf("%v %s: %+v, %v", c.cost, how, d, err)
				}
				continue
			}
			var units *UnitsError
			if !slices.Equal(faultsOf(t, err), []string{"/cost/" + c.unknown[0]}) || !errors.As(err, &units) || !slices.Equal(units.Unknown, c.unknown) {
				t.Errorf("%v %s: %v", c.cost, how, err)
			}
		}
	}
	s := newShelf(t, `{"unknown_units":"deny","limits":{}}`)
	if _, err := s.ask(New(s), "", Cost{"requests", 2}); err != nil {
		t.Errorf("requests are never unknown: %v", err)
	}
}

// TestEveryFaultOfTheUnitsIsTold: what is wrong with all of them, in one answer.
func TestEveryFaultOfTheUnitsIsTold(t *testing.T) {
	s := newShelf(t, tokensPolicy(`"unknown_units":"deny",`, `,"required":true`))
	_, err := s.ask(New(s), "gpt-4o", Cost{"prompt_tokens", 1}, Cost{"completion_tokens", 1})
	if got := faultsOf(t, err); !slices.Equal(got, []string{"/cost", "/cost/completion_tokens", "/cost/prompt_tokens"}) {
		t.Errorf("%v: %v", got, err)
	}
}

func TestUnitsOfALargePolicyAreNotAllListed(t *testing.T) {
	var counts []string
	for i := range 32 {
		counts = append(counts, `"u`+strings.Repeat("x", i)+`":1`)
	}
	s := newShelf(t, oneLimit(`"required":true,"unit":"u","counts":{`+strings.Join(counts, ",")+`}`))
	if _, err := s.ask(New(s), ""); err == nil || !strings.Contains(err.Error(), "another of 32") {
		t.Errorf("%v", err)
	}
}

func TestBlanksAroundAModelAreRefused(t *testing.T) {
	s := newShelf(t, oneLimit(`"models":["gpt-4o"]`))
	for model, refused := range map[string]bool{" gpt-4o": true, "gpt-4o ": true, " ": true, "gpt 4o": false, "gpt-4o": false} {
		_, err := s.ask(New(s), model)
		if got := slices.Equal(faultsOf(t, err), []string{"/model"}); got != refused || got != (err != nil) {
			t.Errorf("%q: %v", model, err)
		}
		q := UsageQuery{Provider: "acme", Model: model}
		if err := q.validate(); (err != nil) != refused {
			t.Errorf("usage of %q: %v", model, err)
		}
	}
}

func TestStrictnessRestartsNoCounter(t *testing.T) {
	r, _ := Record{}.nextPolicy(mustParse(t, tokensPolicy(``, ``)))
	for _, doc := range []string{
		tokensPolicy(`"unknown_models":"deny","unknown_units":"deny",`, `,"required":true`),
		tokensPolicy(``, ``),
		strings.Replace(tokensPolicy(``, ``), `"output_tokens":4`, `"output_tokens":4,"tokens":1`, 1), // as it counts anyway
	} {
		next, restarted := r.nextPolicy(mustParse(t, doc))
		if len(restarted) > 0 {
			t.Errorf("%s restarts %v", doc, restarted)
		}
		r = next
	}
	if _, restarted := r.nextPolicy(mustParse(t, strings.Replace(tokensPolicy(``, ``), `"output_tokens":4`, `"output_tokens":4,"tokens":2`, 1))); !slices.Equal(restarted, []string{"tpm"}) {
		t.Errorf("another weight restarts %v", restarted)
	}
}

func mustParse(t *testing.T, doc string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
