package limiter

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// oracleOf is a glob as a regular expression.
func oracleOf(glob string) *regexp.Regexp {
	parts := strings.Split(glob, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, `.*`) + `\z`)
}

// modelish are strings that are often alike.
func modelish(alphabet string) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune(alphabet)), 0, 12, -1)
}

func TestGlobMatchesAsARegularExpressionDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := modelish("ab/:*.é").Draw(t, "pattern")
		model := modelish("ab/:.é").Draw(t, "model")
		if got, want := glob(pattern, model), oracleOf(pattern).MatchString(model); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, model, got, want)
		}
	})
}

func TestModelsMatchWhenAPlainGlobDoesAndNoExclusion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := modelish("ab/").Draw(t, "model")
		var models Models
		plain, included, excluded := 0, false, false
		for range rapid.IntRange(0, 4).Draw(t, "globs") {
			g := rapid.StringOfN(rapid.SampledFrom([]rune("ab/*")), 1, 5, -1).Draw(t, "glob")
			hit := oracleOf(g).MatchString(model)
			if rapid.Bool().Draw(t, "exclude") {
				models, excluded = append(models, "!"+g), excluded || hit
			} else {
				models, included = append(models, g), included || hit
				plain++
			}
		}
		if got, want := models.Match(model), !excluded && (included || plain == 0); got != want {
			t.Fatalf("%q match %q: %v, want %v", models, model, got, want)
		}
	})
}

func TestModelsOfProviders(t *testing.T) {
	for _, c := range []struct {
		models Models
		model  string
		want   bool
	}{
		{nil, "anything", true},
		{Models{"*:free"}, "deepseek/deepseek-r1:free", true},
		{Models{"*:free"}, "deepseek/deepseek-r1:free2", false},
		{Models{"*:free"}, "deepseek/deepseek-r1:FREE", false},
		{Models{"*:free", "!openai/*"}, "openai/gpt-oss-20b:free", false},
		{Models{"!openai/*", "*:free"}, "openai/gpt-oss-20b:free", false},
		{Models{"!openai/*"}, "anthropic/claude", true},
		{Models{"gpt-4*", "o1"}, "o1", true},
		{Models{"gpt-4*", "o1"}, "o1-mini", false},
		{Models{"gpt-4*"}, "gpt-4", true},
		{Models{"*"}, "a/b", true},
		{Models{"!*"}, "a/b", false},
		{Models{"a?[b]"}, "a?[b]", true},
		{Models{"a?[b]"}, "axb", false},
		{Models{"!!a"}, "!a", false},
	} {
		if got := c.models.Match(c.model); got != c.want {
			t.Errorf("%q match %q: %v", c.models, c.model, got)
		}
	}
}

func TestGlobDoesNotBacktrack(t *testing.T) { // if it did, this would not end
	if glob(strings.Repeat("a*", 128)+"b", strings.Repeat("a", MaxModelLen)) {
		t.Error("matches without a b")
	}
}

// manyGlobs is a policy as costly to match as there may be: only the last part of each glob is not found.
func manyGlobs() string {
	var limits []string
	for i := range MaxLimits {
		globs := make([]string, maxModelPatterns)
		for j := range globs {
			globs[j] = fmt.Sprintf(`"%s%d-%d*"`, strings.Repeat("*a", maxStars-1), i, j)
		}
		limits = append(limits, fmt.Sprintf(`"l%d":{"scope":"key","kind":"rate","amount":1000000,"per":"1s","models":[%s]}`, i, strings.Join(globs, ",")))
	}
	return `{"limits":{` + strings.Join(limits, ",") + `}}`
}

func TestGlobsHaveFewStars(t *testing.T) {
	for glob, fits := range map[string]bool{"*a*b*c*d*e*f*g*h": true, "!" + strings.Repeat("*", 8): true, "*a*b*c*d*e*f*g*h*": false, "!" + strings.Repeat("*", 9): false} {
		_, err := ParsePolicy([]byte(oneLimit(`"models":["x","` + glob + `"]`)))
		if got := faultsOf(t, err); slices.Equal(got, []string{"/limits/l/models/1"}) == fits || (err == nil) != fits {
			t.Errorf("%s: %v", glob, err)
		}
	}
}

// TestMatchesAreRememberedAsTheyAre: what is remembered of a model is what its globs say, also after more models than are kept.
func TestMatchesAreRememberedAsTheyAre(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"limits":{
		"a":{"scope":"key","kind":"rate","amount":1,"per":"1s","models":["*1"]},
		"b":{"scope":"key","kind":"rate","amount":1,"per":"1s"},
		"c":{"scope":"key","kind":"rate","amount":1,"per":"1s","models":["!*1","*"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	var m matches
	for range 2 {
		for i := range 3 * matchesKept {
			model := fmt.Sprint("m", i)
			for j, l := range p.Limits {
				if set := m.of(p.Limits, model); set.has(j) != l.Models.Match(model) {
					t.Fatalf("%s: %b", model, set)
				}
			}
		}
	}
	if n := m.known.Len(); n > matchesKept {
		t.Errorf("%d models are remembered", n)
	}
}

// TestBatchesOfOneModelMatchItOnce: what is remembered of a model serves every ask for it, and nothing matches globs again.
func TestBatchesOfOneModelMatchItOnce(t *testing.T) {
	s := newShelf(t, manyGlobs())
	c := New(s)
	s.ask(c, "known") // compiles the policy
	v, _ := c.policies.Load("acme")
	v.(*policyView).matches.known.Add("a0-0", 0) // what its globs do not say
	asks := slices.Repeat([]Ask{{Provider: "acme", Key: "sk-1", Model: "a0-0"}}, 1000)
	for _, r := range c.AcquireBatch(t.Context(), asks) {
		if r.Err != nil || len(r.Decision.Limits) != 0 || !r.Decision.UnknownModel {
			t.Fatalf("%+v, %v, want what is remembered", r.Decision, r.Err)
		}
	}
}

// TestBatchEndsWithItsContext: the rest of a batch that nobody waits for is not resolved.
func TestBatchEndsWithItsContext(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	c := New(s)
	ctx, cancel := context.WithCancel(t.Context())
	asks := make([]Ask, 10)
	for i := range asks {
		asks[i] = Ask{Provider: fmt.Sprint("p", i), Key: "sk-1"}
	}
	loaded := 0
	s.load = func(id DocID) (Record, error) {
		if loaded++; loaded == 3 {
			cancel()
		}
		return Record{}, nil
	}
	for i, r := range c.AcquireBatch(ctx, asks) {
		if want := map[bool]error{true: ErrUnknownProvider, false: context.Canceled}[i < 3]; !errors.Is(r.Err, want) {
			t.Errorf("ask %d: %v, want %v", i, r.Err, want)
		}
	}
	if loaded != 3 || len(s.asked) != 0 {
		t.Errorf("%d policies were read and %d asks decided", loaded, len(s.asked))
	}
}

func BenchmarkMatches(b *testing.B) {
	for name, doc := range map[string]string{
		"few":  `{"limits":{"a":{"scope":"key","kind":"rate","amount":1,"per":"1s","models":["*:free"]},"b":{"scope":"key","kind":"rate","amount":1,"per":"1s","models":["gpt-4o","gpt-4o-2*"]}}}`,
		"many": manyGlobs(),
	} {
		p, err := ParsePolicy([]byte(doc))
		if err != nil {
			b.Fatal(err)
		}
		models := make([]string, 4*matchesKept)
		for i := range models {
			models[i] = fmt.Sprint(strings.Repeat("a", 200), i)
		}
		var m matches
		b.Run(name+"/known", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.of(p.Limits, models[0])
			}
		})
		b.Run(name+"/unknown", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.of(p.Limits, models[i%len(models)])
			}
		})
	}
}

func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"*:free", "a/b:free"}, {"a*b*c", "abc"}, {"a*a", "a"}, {"", ""}, {"**", "x"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, model string) {
		pattern, model = strings.ToValidUTF8(pattern, "?"), strings.ToValidUTF8(model, "?") // all that documents and asks hold
		if len(pattern) > 300 || len(model) > 300 {
			return
		}
		if got, want := glob(pattern, model), oracleOf(pattern).MatchString(model); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, model, got, want)
		}
	})
}
