package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// checkAccounts refuses what flags can't be together.
func (c *replayCmd) checkAccounts() error {
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

// dealAccounts gives each key of the trace an account out of --accounts, in turn and in the order in which they come. It
// returns the pools of keys, by key id; without --accounts none.
func (c *replayCmd) dealAccounts(t *trace) map[string]string {
	pools := map[string]string{}
	if c.Accounts == 0 {
		return pools
	}
	for i := range t.rows {
		if id := limiter.KeyID(t.rows[i].Key); pools[id] == "" {
			pools[id] = fmt.Sprintf("account-%d", len(pools)%c.Accounts+1)
		}
	}
	return pools
}

// readAccounts takes the pools of keys from the policies.
func (p *plan) readAccounts() {
	p.pools = map[string]string{}
	for _, docs := range p.policies.Providers {
		for _, e := range docs.Entries {
			if docs.Provider == p.provider && e.Entry.Kind == limiter.KeyEntry && e.Entry.Pool != "" {
				p.pools[e.Name] = e.Entry.Pool
			}
		}
	}
}

// account is that of a key at the provider: the pool that the policy file says, or the key's own.
func (p *plan) account(key string) string {
	id := limiter.KeyID(key)
	return cmp.Or(p.pools[id], id)
}

// shownPolicy is the policy without the accounts that --accounts dealt, of which there may be many.
func (c *replayCmd) shownPolicy(p *plan) string {
	if c.Accounts == 0 {
		return p.policyText
	}
	text, _, _ := strings.Cut(p.policyText, keysOfPolicy)
	return text + fmt.Sprintf("    # and keys: pools of %d keys, which --print-policy shows\n", len(p.pools))
}
