package limiter

import "strings"

// Models says which models a limit applies to, by globs in which "*", at most 8 times in each, matches any run of
// characters, "/" included; all else stands for itself, blanks and the case of letters included. A glob after "!" excludes.
// A model is matched when no exclusion matches it and a plain glob does; where there are only exclusions, when none of them
// matches. Empty matches every model.
//
//	Models{"*:free", "!openai/*"} matches "deepseek/deepseek-r1:free" and not "openai/gpt-oss-20b:free".
type Models []string

// Match reports whether the limit applies to a model.
func (m Models) Match(model string) bool {
	included, anyPlain := false, false
	for _, g := range m {
		if g[0] == '!' {
			if glob(g[1:], model) {
				return false
			}
			continue
		}
		anyPlain = true
		included = included || glob(g, model)
	}
	return included || !anyPlain
}

// glob matches in time linear in the two lengths: both ends first, and then each part between two stars once, after the one
// before.
func glob(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	last := strings.LastIndexByte(rest, '*')
	tail := rest[last+1:]
	if len(s) < len(head)+len(tail) || !strings.HasPrefix(s, head) || !strings.HasSuffix(s, tail) {
		return false
	}
	s = s[len(head) : len(s)-len(tail)]
	for part := range strings.SplitSeq(rest[:max(0, last)], "*") {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}
