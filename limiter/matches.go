package limiter

import (
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// matchesKept is of how many models a policy remembers which limits are for them: at most 1 KiB each.
const matchesKept = 1024

// matches tells which limits of a policy are for a model. It remembers the answers, because a policy may have 64 × 256
// globs. The zero value is ready.
type matches struct {
	once sync.Once
	// known forgets models that were named once before those that are named often, so that a flood of made-up ones
	// displaces no others.
	known *lru.TwoQueueCache[string, limitSet]
}

// limitSet is a set of limits by their place in a policy, of which there are [MaxLimits].
type limitSet uint64

func (s limitSet) has(i int) bool { return s>>i&1 == 1 }

// of returns the limits whose globs match a model; limits without globs are always among them.
func (m *matches) of(limits []*Limit, model string) limitSet {
	m.once.Do(func() {
		known, err := lru.New2Q[string, limitSet](matchesKept)
		if err != nil {
			panic(err) // only for a size below 1
		}
		m.known = known
	})
	if set, ok := m.known.Get(model); ok {
		return set
	}
	var set limitSet
	for i, l := range limits {
		if l.Models.Match(model) {
			set |= 1 << i
		}
	}
	m.known.Add(strings.Clone(model), set)
	return set
}

// applying returns the limits that count asks for a model; "" is an ask that names none.
func (v *policyView) applying(model string) (set limitSet) {
	if model != "" && v.picking != 0 {
		return v.matches.of(v.policy.Limits, model)
	}
	for i, l := range v.policy.Limits {
		if model != "" || !l.needsModel() {
			set |= 1 << i
		}
	}
	return set
}

// showing returns the limits whose usage can be shown: with a model, those that apply to it; without, those of which
// not each model has a counter of its own.
func (v *policyView) showing(model string) (set limitSet) {
	if model != "" {
		return v.applying(model)
	}
	for i, l := range v.policy.Limits {
		if !l.PerModel {
			set |= 1 << i
		}
	}
	return set
}
