package limiter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// StoredEntry is the entry of a key or pool, as it is stored.
type StoredEntry struct {
	Name      string // key id or name of the pool
	Revision  int64
	Tag       string
	Entry     *Entry
	Created   bool      // by the write that returned it
	Restarted []string  // limits whose counters the write started afresh
	Misfits   []string  // limits that overrides of what was written do not fit, see [Entry.Misfits]
	RotatedTo string    // of a key that was rotated: the key that took its place, whose entry this is
	ExpiresAt time.Time // of such a key: from then on it is disabled
	// Unreadable is, in a list, why this version can't read the entry, which has nothing but its Body then; else nil.
	Unreadable error
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

// Entries returns the entries of one kind after a name, in the order of their names: a page of at most n and about
// [PageSize] bytes. more reports whether there are entries after these.
func (c *Coordinator) Entries(ctx context.Context, provider string, kind EntryKind, after string, n int) (entries []StoredEntry, more bool, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	policy, err := c.livePolicy(ctx, provider)
	if err != nil {
		return nil, false, err
	}
	for size := 0; ; {
		records, err := c.store.List(ctx, provider, kind, after, n+1-len(entries)) // one more: are there others?
		if err != nil || len(records) == 0 {
			return entries, false, err
		}
		for _, r := range records {
			after = r.Name
			id := DocID{provider, kind, r.Name}
			at, record := id, r.of(policy.record.Generation)
			if record.Root != "" {
				if at, record, err = c.resolveEntry(ctx, policy, id); err != nil {
					return nil, false, err
				}
			}
			if record.deleted() {
				continue
			}
			if len(entries) == n || size >= PageSize {
				return entries, true, nil
			}
			e, err := record.stored(id, at)
			if errors.Is(err, ErrUnreadable) { // it must not spoil the list
				e, err = StoredEntry{Name: id.Name, Revision: record.Revision, Tag: record.Tag, Entry: &Entry{Kind: kind, body: record.Body}, Unreadable: err}, nil
			}
			if err != nil {
				return nil, false, err
			}
			entries, size = append(entries, e), size+record.Size()
		}
	}
}

// PutEntry creates or replaces the entry of a key or pool. The document is checked against the policy in force; overrides that
// do not fit it may stay if they were there before, so that an entry can be disabled whatever became of the policy. When it
// returns, no instance grants under the one before.
func (c *Coordinator) PutEntry(ctx context.Context, id DocID, doc []byte, e Edit) (StoredEntry, error) {
	return c.writeEntry(ctx, id, e, func(r Record, p *Policy) (*Entry, error) {
		return replaceEntry(id.Kind, doc, p, r.entry(id.Kind))
	})
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
		return replaceEntry(id.Kind, doc, p, r.entry(id.Kind))
	})
}

// DeleteEntry deletes the entry of a key or pool: what the policy says holds again. Of a key that was rotated, and is still
// good, it ends the time.
func (c *Coordinator) DeleteEntry(ctx context.Context, id DocID, e Edit) error {
	_, _, err := c.swapEntry(ctx, id, e, func(policy *policyView, at DocID, r Record) (Record, error) {
		if r.deleted() {
			return Record{}, unknownEntry(id)
		}
		if id.Kind == KeyEntry && r.current(at.Name) != id.Name {
			next := r.again()
			next.Former = maps.Clone(r.Former)
			next.Former[id.Name] = 0
			return next, nil
		}
		return r.nextEntry(&Entry{Kind: id.Kind}, policy.record.Generation), nil
	})
	return err
}

// writeEntry writes what next makes of an entry and the policy in force.
func (c *Coordinator) writeEntry(ctx context.Context, id DocID, e Edit, next func(Record, *Policy) (*Entry, error)) (StoredEntry, error) {
	var created bool
	var restarted, misfits []string
	at, r, err := c.swapEntry(ctx, id, e, func(policy *policyView, _ DocID, r Record) (Record, error) {
		entry, err := next(r, policy.policy)
		if err != nil {
			return Record{}, err
		}
		created, misfits = r.deleted(), entry.Misfits(policy.policy)
		record := r.nextEntry(entry, policy.record.Generation)
		restarted, err = policy.restarted(id, r, record)
		return record, err
	})
	if err != nil {
		return StoredEntry{}, err
	}
	stored, err := r.stored(id, at)
	stored.Created, stored.Restarted, stored.Misfits = created, restarted, misfits
	return stored, err
}

// entry is what the record of an entry holds, as far as it can be read.
func (r Record) entry(kind EntryKind) *Entry {
	if !r.deleted() {
		if e, err := loadEntry(kind, r.Body); err == nil {
			return e
		}
	}
	return &Entry{Kind: kind}
}

// restarted are the limits whose counters an edit of an entry starts afresh. Of one that can't be read that is not known: none.
func (v *policyView) restarted(id DocID, from, to Record) (names []string, err error) {
	before, err := newEntryView(id, from)
	if errors.Is(err, ErrUnreadable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	after, err := newEntryView(id, to)
	if err != nil {
		return nil, err
	}
	for i, l := range v.policy.Limits {
		if string(l.Scope) == string(id.Kind) && before.terms(v, i).Counter != after.terms(v, i).Counter {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

// swapEntry writes what next makes of an entry, where it is kept, again and again until nobody else wrote in between. It
// returns where that is, and what was written.
func (c *Coordinator) swapEntry(ctx context.Context, id DocID, e Edit, next func(*policyView, DocID, Record) (Record, error)) (DocID, Record, error) {
	if fault := id.fault(); fault != "" {
		return id, Record{}, &InvalidError{[]Fault{{"", fault}}}
	}
	for {
		policy, err := c.livePolicy(ctx, id.Provider)
		if err != nil {
			return id, Record{}, err
		}
		at, r, err := c.resolveEntry(ctx, policy, id)
		if err != nil {
			return id, Record{}, err
		}
		if !e.holds(r) {
			return id, Record{}, conflict(r)
		}
		wanted, err := next(policy, at, r)
		if err != nil {
			return id, Record{}, err
		}
		stored, err := c.store.Swap(ctx, at, r.Tag, e.sign(wanted))
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err == nil {
			err = c.stillThere(ctx, id.Provider, policy)
		}
		return at, stored, err
	}
}

// stillThere takes back what was written of entries if the provider was deleted meanwhile.
func (c *Coordinator) stillThere(ctx context.Context, provider string, policy *policyView) error {
	r, err := c.store.Load(ctx, DocID{Provider: provider})
	if err != nil || !r.deleted() && r.Generation == policy.record.Generation {
		return err
	}
	gone := r.Revision - 1
	if !r.deleted() { // created again since: the entries of this generation stay
		created, err := strconv.ParseInt(r.Generation, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: the stored policy has no readable generation: %w", ErrStoreUnavailable, err)
		}
		gone = created - 1
	}
	if err := c.store.Clear(ctx, provider, gone); err != nil {
		return err
	}
	return unknownProvider(provider)
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

// resolveEntry reads an entry, and tells where it is kept. A record without a body is none.
func (c *Coordinator) resolveEntry(ctx context.Context, policy *policyView, id DocID) (DocID, Record, error) {
	r, err := c.loadEntry(ctx, id)
	if r = r.of(policy.record.Generation); err == nil && r.Root != "" {
		id.Name = r.Root
		r, err = c.loadEntry(ctx, id)
	}
	return id, r.of(policy.record.Generation), err
}

// loadEntry reads the record of an entry.
func (c *Coordinator) loadEntry(ctx context.Context, id DocID) (Record, error) {
	r, err := c.store.Load(ctx, id)
	if err != nil {
		return r, err
	}
	return c.keptEntry(ctx, id, r)
}

// stored is the record as an entry that was asked for under id and found at another.
func (r Record) stored(id, at DocID) (StoredEntry, error) {
	if r.deleted() {
		return StoredEntry{}, unknownEntry(id)
	}
	e, err := loadEntry(id.Kind, r.Body)
	if err != nil {
		return StoredEntry{}, unreadable(id, r.Revision, err)
	}
	s := StoredEntry{Name: id.Name, Revision: r.Revision, Tag: r.Tag, Entry: e}
	if current := r.current(at.Name); id.Kind == KeyEntry && current != id.Name {
		s.RotatedTo, s.ExpiresAt = current, r.Former[id.Name].Time()
	}
	return s, nil
}

func unknownProvider(name string) error { return fmt.Errorf("%w: %q", ErrUnknownProvider, name) }

func unknownEntry(id DocID) error { return fmt.Errorf("%w: %s", ErrUnknownEntry, id.Kind) }
