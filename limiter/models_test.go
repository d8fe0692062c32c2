package limiter

import (
	"regexp"
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
