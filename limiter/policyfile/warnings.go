package policyfile

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/permitd/permitd/limiter"
)

// warnAbout warns of what is allowed and likely not meant.
func (p *parser) warnAbout(provider string, policy *limiter.Policy, doc *yaml.Node, line int) {
	p.warnOfGlobs(provider, policy, doc, line)
	p.warnOfBursts(provider, policy, doc, line)
}

// warnOfGlobs warns of each that can match nothing, since no ask's model begins or ends with a blank.
func (p *parser) warnOfGlobs(provider string, policy *limiter.Policy, doc *yaml.Node, line int) {
	for _, l := range policy.Limits {
		for i, glob := range l.Models {
			if plain := strings.TrimPrefix(glob, "!"); strings.TrimSpace(plain) != plain {
				at := pointer(pointer("/limits", l.Name), "models") + "/" + strconv.Itoa(i)
				p.warn(locate(doc, line, at), place{provider, at},
					"%q matches no model: blanks count, and no model begins or ends with one", glob)
			}
		}
	}
}

// warnOfBursts warns of each rate that admits more in one per than its amount without its author having said so: those that
// name neither a burst nor strict_window, where the default admits twice the amount. Who names a burst has said how much
// more may go.
func (p *parser) warnOfBursts(provider string, policy *limiter.Policy, doc *yaml.Node, line int) {
	for _, l := range policy.Limits {
		if l.Kind != limiter.KindRate || l.Strict || !l.BurstIsDefault() {
			continue
		}
		at := pointer("/limits", l.Name)
		per := limiter.FormatDuration(l.Per)
		p.warn(locate(doc, line, at), place{provider, at}, "up to %d %s may be admitted within one %s (amount %d, and as much at once, because no burst is named); "+
			"name burst, or if no %s may see more than %d, add strict_window: true",
			l.Amount+l.Burst, l.Unit, per, l.Amount, per, l.Amount)
	}
}

func (p *parser) warn(line int, at place, format string, args ...any) {
	p.warnings = append(p.warnings, Problem{p.file, line, at.String() + fmt.Sprintf(format, args...)})
}
