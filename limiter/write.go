package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Match is the condition of a write. The zero Match is none: the write is made on top of whatever is stored.
type Match struct {
	Tag    string // only if the document has this tag
	Absent bool   // only if there is no document
}

// holds reports whether the write may be made on top of r.
func (m Match) holds(r Record) bool {
	return (m.Tag == "" || m.Tag == r.Tag && !r.deleted()) && (!m.Absent || r.deleted())
}

// PutPolicy creates or replaces the policy of a provider. When it returns, no instance grants under the one before.
// Units used stay used; restarted names the limits whose counters start afresh all the same, because the edit changed
// what they count. [ErrConflict] means that match did not hold and nothing was written; the document returned is then
// the one in force.
func (c *Coordinator) PutPolicy(ctx context.Context, provider string, p *Policy, match Match) (doc PolicyDoc, restarted []string, err error) {
	if !ValidName(provider) {
		return PolicyDoc{}, nil, &InvalidError{[]Fault{{"", "a provider's name must match " + namePattern}}}
	}
	r, err := c.swap(ctx, DocID{Provider: provider}, match, func(r Record) (next Record, _ error) {
		next, restarted = r.nextPolicy(p)
		return next, nil
	})
	if err != nil && !errors.Is(err, ErrConflict) || r.deleted() {
		return PolicyDoc{}, nil, err
	}
	v, adoptErr := c.adoptPolicy(provider, r)
	if adoptErr != nil {
		return PolicyDoc{}, nil, adoptErr
	}
	return PolicyDoc{provider, r.Revision, r.Tag, v.policy}, restarted, err
}

// PutEntry creates or replaces the entry of a key or pool (name: the key id, or the pool's name). The document is checked
// against the policy in force.
func (c *Coordinator) PutEntry(ctx context.Context, provider, name string, kind EntryKind, doc []byte, match Match) error {
	if kind == KeyEntry && !ValidKeyID(name) || kind == PoolEntry && !ValidName(name) {
		return &InvalidError{[]Fault{{"", fmt.Sprintf("not the name of a %s", kind)}}}
	}
	policy, err := c.Policy(ctx, provider)
	if err != nil {
		return err
	}
	e, err := ParseEntry(kind, doc, policy.Policy)
	if err != nil {
		return err
	}
	_, err = c.swap(ctx, DocID{provider, kind, name}, match, func(r Record) (Record, error) { return r.nextEntry(e), nil })
	return err
}

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
func (c *Coordinator) Reset(ctx context.Context, q ResetQuery) (limits []string, revision int64, err error) {
	if err := (&UsageQuery{Provider: q.Provider, KeyID: q.KeyID, Pool: q.Pool}).validate(); err != nil {
		return nil, 0, err
	}
	if q.KeyID != "" && q.Pool != "" || q.All && (q.KeyID != "" || q.Pool != "") {
		return nil, 0, &InvalidError{[]Fault{{"", "name one of key_id, pool and all_keys, or none for the limits of the provider"}}}
	}
	id := DocID{Provider: q.Provider}
	switch {
	case q.Pool != "":
		id.Kind, id.Name = PoolEntry, q.Pool
	case q.KeyID != "":
		id.Kind, id.Name = KeyEntry, q.KeyID
	}
	stored, err := c.swap(ctx, id, Match{}, func(r Record) (Record, error) {
		policy, entry := r, Record{}
		if id.Kind != "" {
			if policy, err = c.store.Load(ctx, DocID{Provider: q.Provider}); err != nil {
				return Record{}, err
			}
			entry = r
		}
		p, err := c.adoptPolicy(q.Provider, policy)
		if err != nil {
			return Record{}, err
		}
		e, err := newEntryView(id.Kind, entry)
		if err != nil {
			return Record{}, err
		}
		limits, err = q.limits(p.policy, q.scopes(e.entry.Pool))
		return r.nextReset(id.Kind, limits), err
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
			f.add(at, "the policy has no limit of this name")
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

// swap writes what next makes of the stored record, again and again until nobody else wrote in between.
func (c *Coordinator) swap(ctx context.Context, id DocID, match Match, next func(Record) (Record, error)) (Record, error) {
	r, err := c.store.Load(ctx, id)
	for err == nil {
		if !match.holds(r) {
			return r, ErrConflict
		}
		var stored, wanted Record
		if wanted, err = next(r); err != nil {
			return Record{}, err
		}
		if stored, err = c.store.Swap(ctx, id, r.Tag, wanted); err == nil {
			return stored, nil
		}
		if errors.Is(err, ErrConflict) {
			r, err = stored, nil
		}
	}
	return Record{}, err
}
