package limiter

import (
	"strings"
	"testing"
)

func TestDidYouMean(t *testing.T) {
	names := []string{"gpt-4o-rpm", "gpt-4o-tpm", "rpm", "free-rpd"}
	for mistyped, want := range map[string]string{
		"gpt4o-rpm": "; did you mean gpt-4o-rpm?", "gpt-4o-rmp": "; did you mean gpt-4o-rpm?", "gpt_4o_tpm": "; did you mean gpt-4o-tpm?",
		"GPT-4o-RPM": "; did you mean gpt-4o-rpm?", "rpn": "; did you mean rpm?", "free-rph": "; did you mean free-rpd?",
		"free": "", strings.Repeat("x", 1<<20): "",
		"something-else": "", "inflight": "", "": "",
	} {
		if got := didYouMean(mistyped, names); got != want {
			t.Errorf("%q: %q, want %q", mistyped, got, want)
		}
	}
	if got := didYouMean("rpm", nil); got != "" {
		t.Errorf("of none: %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "bc", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 2}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
