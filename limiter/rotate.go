package limiter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// A key that was rotated keeps its entry where it has always been: under the first of its ids, the root. The ids that took
// its place have a record that says so and never changes, and the root's record says which ids are good, and until when. So
// that one record decides for all of them, and it is what the stamps of an ask are about, by whichever id it comes.

// maxFormer is how often a key may be rotated.
const maxFormer = 256

// MaxKeepOld is for how long a key that was rotated may stay good.
const MaxKeepOld = 365 * 24 * time.Hour

// current is the id that is good for good, given the root's record and id.
func (r Record) current(root string) string {
	if r.Current != "" {
		return r.Current
	}
	return root
}

// goodUntil is until when an id is good, given the root's record and id.
func (r Record) goodUntil(keyID, root string) Instant {
	if keyID == r.current(root) {
		return forever
	}
	return r.Former[keyID] // 0 if it is not one of the key's
}

// RotateKey gives the entry and the usage of one key to another. Both are good for as long as keep says; then the old one is
// disabled. Doing it again changes nothing but that time, and rotating back is as good as any rotation. Errors: those of
// writes; [ErrUnknownEntry] for a key without an entry; a [*ConflictError] when the other key has one.
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
	for range maxRounds {
		stored, err := c.rotate(ctx, id, dest, keep, e)
		if !errors.Is(err, ErrConflict) || errors.As(err, new(*ConflictError)) {
			return stored, err
		}
	}
	return StoredEntry{}, fmt.Errorf("%w: the documents change faster than this write can follow", ErrOverloaded)
}

// rotate tries once. [ErrConflict] alone: somebody wrote in between.
func (c *Coordinator) rotate(ctx context.Context, id, dest DocID, keep time.Duration, e Edit) (none StoredEntry, err error) {
	policy, err := c.livePolicy(ctx, id.Provider)
	if err != nil {
		return none, err
	}
	root, r, err := c.resolveEntry(ctx, policy, id)
	if err != nil {
		return none, err
	}
	other, err := c.store.Load(ctx, dest)
	if err != nil {
		return none, err
	}
	other = other.of(policy.record.Generation)
	current, ours := r.current(root.Name), dest == root || other.Root == root.Name
	done := current == dest.Name && r.Former[id.Name] != 0
	switch {
	case r.deleted():
		return none, unknownEntry(id)
	case !done && current != id.Name:
		return none, &InvalidError{[]Fault{{"/key_id", "was rotated before: rotate the key that took its place, " + current}}}
	case !e.holds(r):
		return none, conflict(r)
	case !ours && (!other.deleted() || other.Root != "" || other.Current != ""):
		return none, conflict(other)
	case len(r.Former) >= maxFormer:
		return none, &InvalidError{[]Fault{{"/key_id", fmt.Sprintf("was rotated %d times, and that is all: register the new key as one of its own", maxFormer)}}}
	}
	next := r.again()
	next.Current = dest.Name
	next.Former = maps.Clone(r.Former)
	if next.Former == nil {
		next.Former = map[string]Instant{}
	}
	delete(next.Former, dest.Name)
	next.Former[id.Name] = -Instant(keep / time.Microsecond)
	writes := []Write{{root, r.Tag, e.sign(next)}}
	if !ours {
		pointer := other.successor()
		pointer.Root, pointer.Generation = root.Name, policy.record.Generation
		writes = append(writes, Write{dest, other.Tag, e.sign(pointer)})
	}
	if next, err = c.store.SwapAll(ctx, writes); err != nil {
		return none, err
	}
	if err := c.stillThere(ctx, id.Provider, policy); err != nil {
		return none, err
	}
	stored, err := next.stored(dest, root)
	stored.Misfits = next.entry(KeyEntry).Misfits(policy.policy)
	return stored, err
}
