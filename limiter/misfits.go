package limiter

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
)

// Misfits returns the limits whose overrides in the entry do not fit a policy, by name, because that was edited since:
// they are clamped, or without effect where the policy has no limit of the name in the entry's scope.
func (e *Entry) Misfits(p *Policy) (names []string) {
	for _, o := range e.Overrides {
		if o.misfit(e.Kind, p) != "" {
			names = append(names, o.Limit)
		}
	}
	return names
}

// FitEntry returns a stored entry as one that [ParseEntry] takes and that means the same under a policy: overrides
// that no longer fit are written as what they are clamped to, those without effect are dropped. Both are named.
func FitEntry(kind EntryKind, doc []byte, p *Policy) (e *Entry, clamped, dropped []string, err error) {
	if e, err = loadEntry(kind, doc); err != nil {
		return nil, nil, nil, err
	}
	limits := map[string]any{}
	for _, name := range e.Misfits(p) {
		l := p.Limit(name)
		if l == nil || string(l.Scope) != string(kind) {
			limits[name], dropped = nil, append(dropped, name)
			continue
		}
		fitted, _ := e.override(name).apply(l)
		limits[name], clamped = fitted.asOverride(), append(clamped, name)
	}
	patch, err := json.Marshal(map[string]any{"limits": limits})
	if err != nil {
		return nil, nil, nil, err
	}
	if len(limits) > 0 {
		if doc, err = mergePatch(doc, patch); err != nil {
			return nil, nil, nil, err
		}
	}
	e, err = ParseEntry(kind, doc, p)
	return e, clamped, dropped, err
}

// asOverride returns the members that an override must have, and must not have, to be this limit. One unit per strict
// window can't be written as such: two with a burst of one are the same.
func (l *Limit) asOverride() map[string]any {
	switch l.Kind {
	case KindRate:
		amount := l.Amount
		if l.Strict {
			amount = max(2, amount)
		}
		return map[string]any{"amount": amount, "burst": l.Burst, "per": FormatDuration(l.Per)}
	case KindQuota:
		return map[string]any{"amount": l.Amount, "burst": nil, "per": l.Calendar.Period}
	}
	return map[string]any{"amount": l.Amount, "burst": nil, "per": nil}
}

// misfitsLooked is how many pools and how many keys a write of a policy looks at for overrides that no longer fit.
const misfitsLooked = 256

// misfits returns the limits that overrides of the first pools and keys of a provider do not fit, given the policy
// before. It looks only if the edit may have that effect. A failure is logged: the policy is written by then.
func (c *Coordinator) misfits(ctx context.Context, before Record, v *policyView, provider string) []string {
	if before.deleted() {
		return nil
	}
	if p, err := ParsePolicy(before.Body); err == nil && !mayMisfit(p, v.policy) && !mayMisfit(v.policy, p) {
		return nil
	}
	names := map[string]bool{}
	for _, kind := range []EntryKind{PoolEntry, KeyEntry} {
		records, err := c.store.List(ctx, provider, kind, "", misfitsLooked)
		if err != nil {
			c.log.Warn("could not look for overrides that no longer fit the policy", "provider", provider, "error", err)
		}
		for _, r := range records {
			if r.Record = r.of(v.record.Generation); r.deleted() {
				continue
			}
			if e, err := loadEntry(kind, r.Body); err == nil {
				for _, name := range e.Misfits(v.policy) {
					names[name] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// mayMisfit reports whether overrides that fit one policy may not fit another.
func mayMisfit(from, to *Policy) bool {
	return slices.ContainsFunc(from.Limits, func(l *Limit) bool {
		n := to.Limit(l.Name)
		return l.Scope != ScopeProvider && (n == nil || n.Scope != l.Scope || n.Kind != l.Kind || n.spec() != l.spec())
	})
}
