package limiter

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// ResetQuery says whose usage is to be forgotten: that of a key, of a pool, of the provider as a whole (neither), or, with
// All, of everybody.
type ResetQuery struct {
	Provider string
	KeyID    string
	Pool     string
	All      bool
	Limits   []string // by name; none: all of that scope
}

// Reset forgets usage: the counters start afresh, whatever holds are open. Slots that are held are forgotten too. It is a
// write of the document that the usage belongs to (the entry of the key or pool, or the policy), and as certain: when it
// returns, no instance decides by the old counters. It returns the limits, and that document's revision.
//
// A key that is in no pool is its own for limits of scope pool; of one that is in a pool, name that.
func (c *Coordinator) Reset(ctx context.Context, q ResetQuery, e Edit) (limits []string, revision int64, err error) {
	if err := (&UsageQuery{Provider: q.Provider, KeyID: q.KeyID, Pool: q.Pool}).validate(); err != nil {
		return nil, 0, err
	}
	if q.KeyID != "" && q.Pool != "" || q.All && (q.KeyID != "" || q.Pool != "") {
		return nil, 0, &InvalidError{[]Fault{{"", "name one of key_id, pool and all_keys, or none for the limits of the provider"}}}
	}
	next := func(policy *Policy, kind EntryKind, r Record, pool string) (Record, error) {
		if limits, err = q.limits(policy, q.scopes(pool)); err != nil {
			return Record{}, err
		}
		next := r.nextReset(kind, limits)
		next.Note = "reset of " + strings.Join(limits, ", ") + ": "
		return next, nil
	}
	var stored Record
	if q.KeyID == "" && q.Pool == "" {
		stored, err = c.swap(ctx, q.Provider, e, func(r Record) (Record, error) {
			v, err := c.adoptPolicy(ctx, q.Provider, r)
			if err != nil {
				return Record{}, err
			}
			return next(v.policy, "", r, "")
		})
		return limits, stored.Revision, err
	}
	id := DocID{q.Provider, PoolEntry, q.Pool}
	if q.KeyID != "" {
		id = DocID{q.Provider, KeyEntry, q.KeyID}
	}
	_, stored, err = c.swapEntry(ctx, id, e, func(policy *policyView, _ DocID, r Record) (Record, error) {
		v, err := newEntryView(id, r)
		if err != nil {
			return Record{}, err
		}
		return next(policy.policy, id.Kind, r, v.entry.Pool)
	})
	return limits, stored.Revision, err
}

// scopes are those of limits whose usage is meant, given the pool that the key is in.
func (q *ResetQuery) scopes(pool string) []Scope {
	switch {
	case q.All:
		return []Scope{ScopeProvider, ScopePool, ScopeKey}
	case q.Pool != "":
		return []Scope{ScopePool}
	case q.KeyID != "" && pool == "":
		return []Scope{ScopeKey, ScopePool}
	case q.KeyID != "":
		return []Scope{ScopeKey}
	}
	return []Scope{ScopeProvider}
}

// limits are those that are meant, of certain scopes.
func (q *ResetQuery) limits(p *Policy, scopes []Scope) (names []string, err error) {
	var f faults
	for i, name := range q.Limits {
		at := fmt.Sprintf("/limits/%d", i)
		switch l := p.Limit(name); {
		case l == nil:
			f.add(at, "the policy has no limit of this name%s", didYouMean(name, p.limitNames()))
		case !slices.Contains(scopes, l.Scope):
			f.add(at, "is a limit of scope %s, whose usage is not that of whom this names (a key in a pool: name the pool)", l.Scope)
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	for _, l := range p.Limits {
		if len(q.Limits) == 0 && slices.Contains(scopes, l.Scope) {
			names = append(names, l.Name)
		}
	}
	if len(names) == 0 && len(f) == 0 {
		f.add("/limits", "the policy has no limit of this scope")
	}
	return names, f.err()
}
