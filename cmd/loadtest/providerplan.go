package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// providerPlan is one provider of a load: what is asked of it, and what it and the built-in policy admit.
type providerPlan struct {
	name    string
	tokens  int64   // of all its requests
	largest int64   // of them, in tokens
	weight  float64 // it has so much of each figure that flags give for all providers

	mock  mockLimits
	own   ownLimits         // limits of the built-in policy
	pools map[string]string // of keys that name one, by key id
}

// maxProviders bounds how many mock providers are started.
const maxProviders = 100

// planProviders finds the providers of a trace, those with most tokens first. Weights are those that the trace was drawn
// by, or else the tokens.
func planProviders(t *trace) ([]*providerPlan, error) {
	byName := map[string]*providerPlan{}
	provider := func(name string) *providerPlan {
		if byName[name] == nil {
			byName[name] = &providerPlan{name: name}
		}
		return byName[name]
	}
	for _, w := range t.providers {
		provider(w.name)
	}
	for i := range t.rows {
		tokens := tokensOf(&t.rows[i])
		pp := provider(t.rows[i].Provider)
		pp.tokens, pp.largest, pp.weight = pp.tokens+tokens, max(pp.largest, tokens), pp.weight+float64(max(1, tokens))
	}
	for _, w := range t.providers {
		byName[w.name].weight = w.weight
	}
	var list []*providerPlan
	for name, pp := range byName {
		if !limiter.ValidName(name) {
			return nil, fmt.Errorf("the name of a provider must be 1 to 64 of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit, not %q", name)
		}
		list = append(list, pp)
	}
	if len(list) > maxProviders {
		return nil, fmt.Errorf("there are %d providers; a load has at most %d", len(list), maxProviders)
	}
	slices.SortFunc(list, func(a, b *providerPlan) int {
		return cmp.Or(cmp.Compare(b.tokens, a.tokens), cmp.Compare(a.name, b.name))
	})
	return list, nil
}

// nameProvider puts the provider in place where requests name none: the one given, or the only one of the policies, or
// builtIn where there are none. All have to be in the policies.
func (t *trace) nameProvider(given, builtIn, path string, policies *policyfile.File) error {
	var known []string
	if policies != nil {
		for _, docs := range policies.Providers {
			known = append(known, docs.Provider)
		}
	}
	check := func(name string) error {
		if policies == nil || slices.Contains(known, name) {
			return nil
		}
		return fmt.Errorf("%s has no provider %s; it has %s", path, name, strings.Join(known, ", "))
	}
	for _, w := range t.providers {
		if err := check(w.name); err != nil {
			return err
		}
	}
	for i := range t.rows {
		r := &t.rows[i]
		switch {
		case r.Provider != "":
		case given != "":
			r.Provider = given
		case policies == nil:
			r.Provider = builtIn
		case len(known) == 1:
			r.Provider = known[0]
		default:
			return fmt.Errorf("%s holds several providers: choose one by --provider (%s)", path, strings.Join(known, ", "))
		}
		if err := check(r.Provider); err != nil {
			return err
		}
	}
	return nil
}

// of names a provider in a message, unless there is no other.
func (p *plan) of(pp *providerPlan) string {
	if len(p.providers) == 1 {
		return ""
	}
	return " of " + pp.name
}

// deal gives each provider its part of n by weight, at least 1, and has nothing left over.
func (p *plan) deal(n int64) []int64 {
	var all, upTo float64
	for _, pp := range p.providers {
		all += pp.weight
	}
	parts := make([]int64, len(p.providers))
	dealt := int64(0)
	for i, pp := range p.providers {
		upTo += pp.weight
		next := int64(math.Round(float64(n) * (upTo / all)))
		parts[i], dealt = max(1, next-dealt), next
	}
	return parts
}
