package limiter

import (
	"context"
	"fmt"
	"time"
)

// StoredEntry is the entry of a key or pool, as it is stored.
type StoredEntry struct {
	Name      string // key id or name of the pool
	Revision  int64
	Tag       string
	Entry     *Entry
	Created   bool      // by the write that returned it
	RotatedTo string    // of a key that was rotated: the key that took its place, whose entry this is
	ExpiresAt time.Time // of such a key: from then on it is disabled
}

// Entry is the entry of a key or pool, or [ErrUnknownEntry].
func (c *Coordinator) Entry(ctx context.Context, id DocID) (StoredEntry, error) {
	policy, err := c.livePolicy(ctx, id.Provider)
	if err != nil {
		return StoredEntry{}, err
	}
	at, r, err := c.resolveEntry(ctx, policy, id)
	if err != nil {
		return StoredEntry{}, err
	}
	return r.stored(id, at)
}

// Entries are the entries of one kind after a name, in the order of their names, at most n.
func (c *Coordinator) Entries(ctx context.Context, provider string, kind EntryKind, after string, n int) ([]StoredEntry, error) {
	policy, err := c.livePolicy(ctx, provider)
	if err != nil {
		return nil, err
	}
	var entries []StoredEntry
	for len(entries) < n {
		records, err := c.store.List(ctx, provider, kind, after, n-len(entries))
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			after = r.Name
			id := DocID{provider, kind, r.Name}
			at, record := id, r.of(policy.record.Generation)
			if record.Moved != "" {
				if at, record, err = c.resolveEntry(ctx, policy, id); err != nil {
					return nil, err
				}
			}
			if record.deleted() {
				continue
			}
			e, err := record.stored(id, at)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
		if len(records) == 0 {
			break
		}
	}
	return entries, nil
}

// PutEntry creates or replaces the entry of a key or pool. The document is checked against the policy in force. When it
// returns, no instance grants under the one before.
func (c *Coordinator) PutEntry(ctx context.Context, id DocID, doc []byte, e Edit) (StoredEntry, error) {
	return c.writeEntry(ctx, id, e, func(r Record, p *Policy) (*Entry, error) { return ParseEntry(id.Kind, doc, p) })
}

// PatchEntry applies a JSON merge patch (RFC 7396) to an entry. It is [ErrUnknownEntry] where there is none.
func (c *Coordinator) PatchEntry(ctx context.Context, id DocID, patch []byte, e Edit) (StoredEntry, error) {
	if err := checkPatch(patch); err != nil {
		return StoredEntry{}, err
	}
	return c.writeEntry(ctx, id, e, func(r Record, p *Policy) (*Entry, error) {
		if r.deleted() {
			return nil, unknownEntry(id)
		}
		doc, err := mergePatch(r.Body, patch)
		if err != nil {
			return nil, err
		}
		return ParseEntry(id.Kind, doc, p)
	})
}

// DeleteEntry deletes the entry of a key or pool: what the policy says holds again. Of a key that was rotated it ends that
// only: the key is one without an entry from then on, and the other keeps the entry.
func (c *Coordinator) DeleteEntry(ctx context.Context, id DocID, e Edit) error {
	policy, err := c.livePolicy(ctx, id.Provider)
	if err != nil {
		return err
	}
	at, _, err := c.resolveEntry(ctx, policy, id)
	if err != nil {
		return err
	}
	if at != id {
		return c.unrotate(ctx, id, at, e)
	}
	_, err = c.swap(ctx, id, e, func(r Record) (Record, error) {
		if r = r.of(policy.record.Generation); r.deleted() {
			return Record{}, unknownEntry(id)
		}
		next := r.nextEntry(&Entry{Kind: id.Kind}, policy.record.Generation)
		next.Former, next.Subject = nil, ""
		return next, nil
	})
	return err
}

// writeEntry writes what next makes of an entry and the policy in force.
func (c *Coordinator) writeEntry(ctx context.Context, id DocID, e Edit, next func(Record, *Policy) (*Entry, error)) (StoredEntry, error) {
	if fault := id.fault(); fault != "" {
		return StoredEntry{}, &InvalidError{[]Fault{{"", fault}}}
	}
	policy, err := c.livePolicy(ctx, id.Provider)
	if err != nil {
		return StoredEntry{}, err
	}
	at, found, err := c.resolveEntry(ctx, policy, id)
	if err != nil {
		return StoredEntry{}, err
	}
	created := false
	r, err := c.swapFrom(ctx, at, found, e, func(r Record) (Record, error) {
		r = r.of(policy.record.Generation)
		if r.Moved != "" { // just now
			return Record{}, conflict(r)
		}
		entry, err := next(r, policy.policy)
		if err != nil {
			return Record{}, err
		}
		created = r.deleted()
		return r.nextEntry(entry, policy.record.Generation), nil
	})
	if err != nil {
		return StoredEntry{}, err
	}
	stored, err := r.stored(id, at)
	stored.Created = created
	return stored, err
}

// fault is what is wrong with the name of an entry, or "".
func (id DocID) fault() string {
	switch {
	case id.Kind == KeyEntry && !ValidKeyID(id.Name):
		return "a key id is k_ and the first 32 lower-case hex digits of the key's SHA-256; see permitd key-id"
	case id.Kind == PoolEntry && !ValidName(id.Name):
		return "a pool's name must match " + namePattern
	}
	return ""
}

// livePolicy is the policy in force, read from the store.
func (c *Coordinator) livePolicy(ctx context.Context, provider string) (*policyView, error) {
	r, err := c.store.Load(ctx, DocID{Provider: provider})
	if err != nil {
		return nil, err
	}
	return c.adoptPolicy(provider, r)
}

// resolveEntry reads an entry, following keys that were rotated, and returns where it is. A record without a body is none.
func (c *Coordinator) resolveEntry(ctx context.Context, policy *policyView, id DocID) (DocID, Record, error) {
	for range maxRotations {
		r, err := c.store.Load(ctx, id)
		r = r.of(policy.record.Generation)
		if err != nil || r.Moved == "" {
			return id, r, err
		}
		id.Name = r.Moved
	}
	return id, Record{}, fmt.Errorf("%w: the key was rotated more than %d times; use the latest", ErrUnknownEntry, maxRotations)
}

// stored is the record as an entry that was asked for under id and found at another.
func (r Record) stored(id, at DocID) (StoredEntry, error) {
	if r.deleted() {
		return StoredEntry{}, unknownEntry(id)
	}
	e, err := loadEntry(id.Kind, r.Body)
	if err != nil {
		return StoredEntry{}, fmt.Errorf("%w: a stored %s entry can't be read: %w", ErrStoreUnavailable, id.Kind, err)
	}
	s := StoredEntry{Name: id.Name, Revision: r.Revision, Tag: r.Tag, Entry: e}
	if at != id {
		s.RotatedTo, s.ExpiresAt = at.Name, r.Former[id.Name].Time()
	}
	return s, nil
}

func unknownEntry(id DocID) error { return fmt.Errorf("%w: %s", ErrUnknownEntry, id.Kind) }
