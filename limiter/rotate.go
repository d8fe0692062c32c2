package limiter

import (
	"context"
	"errors"
	"maps"
	"time"
)

// maxRotations is how often a key may be rotated with an earlier one still asking.
const maxRotations = 16

// MaxKeepOld is for how long a key that was rotated may stay good.
const MaxKeepOld = 365 * 24 * time.Hour

// RotateKey gives the entry and the usage of one key to another. Both are good for as long as keep says; then the old one is
// disabled. Doing it again changes nothing but that time. Errors: those of writes; [ErrUnknownEntry] for a key without an
// entry; a [*ConflictError] when the other key has one.
//
// The entry moves: what was the old key's record only says where to. Of the two writes the first makes the new key good, the
// second has the old one follow.
func (c *Coordinator) RotateKey(ctx context.Context, provider, from, to string, keep time.Duration, e Edit) (StoredEntry, error) {
	id, dest := DocID{provider, KeyEntry, from}, DocID{provider, KeyEntry, to}
	var f faults
	if fault := id.fault(); fault != "" {
		f.add("/key_id", "%s", fault)
	}
	if fault := dest.fault(); fault != "" {
		f.add("/key", "%s", fault)
	}
	if from == to {
		f.add("/key", "is the key itself: name the one that takes its place")
	}
	if keep < 0 || keep > MaxKeepOld {
		f.add("/keep_old_for", "must be a duration from 0s to 365d")
	}
	if err := f.err(); err != nil {
		return StoredEntry{}, err
	}
	policy, err := c.livePolicy(ctx, provider)
	if err != nil {
		return StoredEntry{}, err
	}
	for range maxRounds {
		r, err := c.rotate(ctx, policy, id, dest, keep, e)
		if err == nil {
			return r.stored(dest, dest)
		}
		if !errors.Is(err, errAgain) {
			return StoredEntry{}, err
		}
	}
	return StoredEntry{}, ErrOverloaded
}

// errAgain: somebody wrote in between.
var errAgain = errors.New("again")

// rotate tries once.
func (c *Coordinator) rotate(ctx context.Context, policy *policyView, id, dest DocID, keep time.Duration, e Edit) (Record, error) {
	generation := policy.record.Generation
	old, err := c.store.Load(ctx, id)
	if err != nil {
		return Record{}, err
	}
	theirs, err := c.store.Load(ctx, dest)
	if err != nil {
		return Record{}, err
	}
	mine, other := old.of(generation), theirs.of(generation)
	_, resumed := other.Former[id.Name]
	next := mine
	switch {
	case mine.Moved == dest.Name && resumed: // done before
		next = other
	case mine.Moved != "":
		return Record{}, &InvalidError{[]Fault{{"/key_id", "was rotated before: rotate the key that took its place, " + mine.Moved}}}
	case mine.deleted():
		return Record{}, unknownEntry(id)
	case !e.holds(mine):
		return Record{}, conflict(mine)
	case !other.deleted() && !resumed, other.Moved != "":
		return Record{}, conflict(other)
	}
	moved := other.successor()
	moved.Body, moved.Tracks, moved.Generation, moved.By, moved.Note = next.Body, next.Tracks, generation, e.By, e.Note
	moved.Subject, moved.Former = next.Subject, map[string]Instant{}
	if moved.Subject == "" {
		moved.Subject = id.Name
	}
	maps.Copy(moved.Former, next.Former)
	moved.Former[id.Name] = -Instant(keep / time.Microsecond)
	stored, err := c.swapOnce(ctx, dest, theirs.Tag, moved)
	if err != nil || mine.Moved != "" {
		return stored, err
	}
	pointer := mine.successor()
	pointer.Moved, pointer.Generation, pointer.By, pointer.Note = dest.Name, generation, e.By, e.Note
	_, err = c.swapOnce(ctx, id, old.Tag, pointer)
	return stored, err
}

// swapOnce is [Store.Swap] with a conflict as errAgain.
func (c *Coordinator) swapOnce(ctx context.Context, id DocID, prev string, next Record) (Record, error) {
	r, err := c.store.Swap(ctx, id, prev, next)
	if errors.Is(err, ErrConflict) {
		err = errAgain
	}
	return r, err
}

// unrotate has a key no longer follow the one that took its place.
func (c *Coordinator) unrotate(ctx context.Context, id, at DocID, e Edit) error {
	_, err := c.swap(ctx, at, e, func(r Record) (Record, error) {
		next := r.successor()
		next.Body, next.Tracks, next.Subject, next.Moved = r.Body, r.Tracks, r.Subject, r.Moved
		next.Former = maps.Clone(r.Former)
		delete(next.Former, id.Name)
		return next, nil
	})
	if err != nil {
		return err
	}
	_, err = c.swap(ctx, id, Edit{By: e.By, Note: e.Note}, func(r Record) (Record, error) { return Record{Revision: r.Revision + 1, Tag: newTag()}, nil })
	return err
}
