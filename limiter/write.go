package limiter

import (
	"context"
	"errors"
	"fmt"
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
	r, err := c.swap(ctx, DocID{Provider: provider}, match, func(r Record) (next Record) {
		next, restarted = r.nextPolicy(p)
		return next
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
	_, err = c.swap(ctx, DocID{provider, kind, name}, match, func(r Record) Record { return r.nextEntry(e) })
	return err
}

// swap writes what next makes of the stored record, again and again until nobody else wrote in between.
func (c *Coordinator) swap(ctx context.Context, id DocID, match Match, next func(Record) Record) (Record, error) {
	r, err := c.store.Load(ctx, id)
	for err == nil {
		if !match.holds(r) {
			return r, ErrConflict
		}
		var stored Record
		stored, err = c.store.Swap(ctx, id, r.Tag, next(r))
		if err == nil {
			return stored, nil
		}
		if errors.Is(err, ErrConflict) {
			r, err = stored, nil
		}
	}
	return Record{}, err
}
