package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// checkAccounts refuses what flags can't be together.
func (c *loadFlags) checkAccounts() error {
	switch {
	case c.Accounts < 0:
		return errors.New("--accounts must be at least 0")
	case c.Accounts > 0 && !c.AccountCapacity.set:
		return errors.New("--accounts goes with --account-capacity")
	case c.Accounts > 0 && c.Policies != "":
		return errors.New("--accounts is of the built-in policy; with --policies the provider's accounts are the pools of its keys")
	}
	return nil
}

// dealAccounts gives each key that a provider is asked with an account out of --accounts there, in turn and in the order in
// which they come. It returns the pools of keys, by key id; without --accounts none.
func (c *loadFlags) dealAccounts(t *trace, provider string) map[string]string {
	pools := map[string]string{}
	if c.Accounts == 0 {
		return pools
	}
	for i := range t.rows {
		if t.rows[i].Provider != provider {
			continue
		}
		if id := limiter.KeyID(t.rows[i].Key); pools[id] == "" {
			pools[id] = fmt.Sprintf("account-%d", len(pools)%c.Accounts+1)
		}
	}
	return pools
}

// readAccounts takes the pools of keys from the policies.
func (p *plan) readAccounts() {
	for _, pp := range p.providers {
		pp.pools = map[string]string{}
		for _, docs := range p.policies.Providers {
			for _, e := range docs.Entries {
				if docs.Provider == pp.name && e.Entry.Kind == limiter.KeyEntry && e.Entry.Pool != "" {
					pp.pools[e.Name] = e.Entry.Pool
				}
			}
		}
	}
}

// account is that of a key at the provider: the pool that the policy file says, or the key's own.
func (pp *providerPlan) account(key string) string {
	id := limiter.KeyID(key)
	return cmp.Or(pp.pools[id], id)
}

// shownPolicy is the policy without the accounts that --accounts dealt, of which there may be many.
func (c *loadFlags) shownPolicy(p *plan) string {
	if c.Accounts == 0 {
		return p.policyText
	}
	var text strings.Builder
	keys := 0
	tell := func() {
		if keys > 0 {
			fmt.Fprintf(&text, "    # and keys: pools of %d keys, which --print-policy shows\n", keys)
		}
		keys = 0
	}
	for line := range strings.Lines(p.policyText) {
		switch {
		case line == keysOfPolicy:
		case strings.HasPrefix(line, "      k_"):
			keys++
		default:
			tell()
			text.WriteString(line)
		}
	}
	tell()
	return text.String()
}
