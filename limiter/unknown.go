package limiter

import (
	"fmt"
	"slices"
	"strings"
)

// What an ask names and nothing of the policy speaks of passes unlimited: a mistyped model, a unit under another name. Such
// asks are told apart here, to be counted, or refused where the policy says so.

// checkModel takes note of a model that no limit with models is for, and refuses it where the policy does.
func (a *attempt) checkModel(v *policyView) error {
	switch {
	case v.picking == 0:
	case a.ask.Model == "" && v.policy.DenyModels:
		return &InvalidError{[]Fault{{"/model",
			"is missing: the provider's policy has unknown_models: deny, so name the model that will be called"}}}
	case a.ask.Model == "":
	default:
		a.unknownModel = v.applying(a.ask.Model)&v.picking == 0
	}
	if a.unknownModel && v.policy.DenyModels {
		return ErrUnknownModel
	}
	return nil
}

// checkUnits takes note of the units that no limit counts, and refuses them where the policy does, and an ask that names no
// unit of a limit that requires one. The lines are there.
func (a *attempt) checkUnits(p *Policy) error {
	lines := a.charge.Lines
	for i, c := range a.ask.Cost {
		if slices.ContainsFunc(lines, func(l Line) bool { return l.Terms.Limit.counts(c.Unit) }) {
			continue
		}
		left := len(a.ask.Cost) - i
		a.ignored = append(slices.Grow(a.ignored, left), c.Unit)
		if c.Unit != DefaultUnit && !slices.ContainsFunc(p.Limits, func(l *Limit) bool { return l.counts(c.Unit) }) {
			a.unknownUnits = append(slices.Grow(a.unknownUnits, left), c.Unit)
		}
	}
	var f faults
	for i := range lines {
		if l := lines[i].Terms.Limit; lines[i].Unweighed && l.Required && l.Mode == Enforce {
			f.add("/cost", "names no unit of limit %s, which requires one: name %s", l.Name, oneOfUnits(l.units()))
		}
	}
	if p.DenyUnits {
		for _, unit := range a.unknownUnits {
			f.add(pointer("/cost", unit), "no limit of this provider counts this unit: leave it out, or name %s in its place",
				oneOfUnits(p.units()))
		}
	}
	if len(f) == 0 {
		return nil
	}
	e := &UnitsError{Unknown: a.unknownUnits, invalid: &InvalidError{f}}
	for i := range lines {
		if lines[i].Unweighed {
			e.Unweighed = append(e.Unweighed, lines[i].Terms.Limit.Name)
		}
	}
	return e
}

// counts reports whether the limit weighs a unit, when acquiring or settling.
func (l *Limit) counts(unit string) bool { return l.Counts.names(unit) || l.ReserveCounts.names(unit) }

// units are those that the limit weighs, sorted.
func (l *Limit) units() []string { return unitsOf(l) }

// units are those that any limit weighs, sorted.
func (p *Policy) units() []string { return unitsOf(p.Limits...) }

func unitsOf(limits ...*Limit) (units []string) {
	for _, l := range limits {
		for _, k := range slices.Concat(l.Counts, l.ReserveCounts) {
			units = append(units, k.Unit)
		}
	}
	slices.Sort(units)
	return slices.Compact(units)
}

// oneOfUnits lists units as alternatives, not more than an answer has room for.
func oneOfUnits(units []string) string {
	const most = 16
	switch n := len(units); {
	case n == 0: // of a policy that counts nothing
		return DefaultUnit
	case n == 1:
		return units[0]
	case n > most:
		return fmt.Sprintf("%s or another of %d", strings.Join(units[:most], ", "), n)
	default:
		return strings.Join(units[:n-1], ", ") + " or " + units[n-1]
	}
}
