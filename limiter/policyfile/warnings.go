package policyfile

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/permitd/permitd/limiter"
)

// warnAbout warns of each rate that admits more in one per than its amount without its author having said so: those that
// name neither a burst nor strict_window, where the default admits twice the amount. Who names a burst has said how much
// more may go.
func (p *parser) warnAbout(provider string, policy *limiter.Policy, doc *yaml.Node, line int) {
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
