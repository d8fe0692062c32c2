package policyfile

import (
	"os"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func TestStarterParses(t *testing.T) {
	var names []string
	buckets := map[string]bool{"openai": true, "anthropic": true, "groq": true}
	for _, p := range Starter().Providers {
		names = append(names, p.Provider)
		for _, l := range p.Policy.Limits {
			switch {
			case l.Scope == limiter.ScopeProvider && l.Mode != limiter.Shadow:
				t.Errorf("%s %s: a limit of scope provider must start in shadow", p.Provider, l.Name)
			case l.Unit != limiter.DefaultUnit && !l.Required && l.DefaultCost == 0:
				t.Errorf("%s %s: an ask that names no %s would pass for nothing", p.Provider, l.Name, l.Unit)
			case l.Kind == limiter.KindRate && l.Strict == buckets[p.Provider] && l.Scope == limiter.ScopePool && l.Amount > 1:
				t.Errorf("%s %s: strict_window is for providers that count windows, and for all of them", p.Provider, l.Name)
			case l.Strict && l.Burst > l.Amount/10:
				t.Errorf("%s %s: sustains less than nine tenths of what is paid for", p.Provider, l.Name)
			case strings.HasSuffix(l.Name, "tpm") && l.Burst < 20_000:
				t.Errorf("%s %s: refuses a call of 20,000 tokens for good", p.Provider, l.Name)
			case l.Scope == limiter.ScopeKey:
				t.Errorf("%s %s: no provider limits by key", p.Provider, l.Name)
			}
		}
	}
	if got := strings.Join(names, " "); got != "anthropic azure bedrock gemini groq mistral openai openrouter" {
		t.Errorf("providers: %s", got)
	}
}

// TestOwnRecommendationsAreNotWarnedOf: neither of the starter policies nor of the manual's example.
func TestOwnRecommendationsAreNotWarnedOf(t *testing.T) {
	page, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(page), "```yaml\nproviders:\n")
	example, _, closed := strings.Cut(example, "```")
	if !found || !closed {
		t.Fatal("docs/policies.md has no example of a policy file")
	}
	f, err := Parse("policies.md", []byte("providers:\n"+example))
	if err != nil {
		t.Fatal(err)
	}
	if w := append(f.Warnings, Starter().Warnings...); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
}

func TestStarterFigures(t *testing.T) {
	policies := map[string]limiter.ProviderDocs{}
	for _, p := range Starter().Providers {
		policies[p.Provider] = p
	}
	limit := func(provider, name string) *limiter.Limit {
		l := policies[provider].Policy.Limit(name)
		if l == nil {
			t.Fatalf("%s has no limit %s", provider, name)
		}
		return l
	}
	if l := limit("openrouter", "free-rpm"); l.Amount != 20 || !l.Models.Match("deepseek/deepseek-r1:free") || l.Models.Match("openai/gpt-4o") {
		t.Errorf("free-rpm: %+v", l)
	}
	pool := policies["openrouter"].Entries[0]
	if o := pool.Entry.Overrides[0]; pool.Name != "no-credits" || o.Limit != "free-rpd" || o.Amount != 50 {
		t.Errorf("the pool without credits: %s %+v", pool.Name, o)
	}
	if l := limit("anthropic", "opus-4-input-tpm"); l.Counts.String() != "cache_creation_input_tokens=1,input_tokens=1" {
		t.Errorf("anthropic's input: %s", l.Counts)
	}
	if l := limit("anthropic", "opus-4-output-tpm"); l.Counts.String() != "output_tokens=1" || l.ReserveCounts.String() != "output_tokens=0" {
		t.Errorf("anthropic's output: %s, reserved %s", l.Counts, l.ReserveCounts)
	}
	l := limit("bedrock", "tpm")
	if l.Counts.String() != "cache_read_tokens=0,cache_write_tokens=1,input_tokens=1,output_tokens=5,tokens=1" ||
		l.ReserveCounts.String() != "cache_read_tokens=1,cache_write_tokens=1,input_tokens=1,output_tokens=1,tokens=1" {
		t.Errorf("bedrock: %s, reserved %s", l.Counts, l.ReserveCounts)
	}
}
