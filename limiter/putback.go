package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A store that is emptied, restored from an old copy, or failed over to a replica that lags behind, loses documents that
// instances have seen. They put back what they know: under a higher revision, so that whoever knows either form finds that
// there is a new one. A record counts how often that was done, so that each instance sees that it has entries to look after.

// rescue is what an instance puts back.
type rescue struct {
	policy  chan struct{} // has room for one, who puts a policy back
	done    atomic.Int64
	mu      sync.Mutex
	entries map[string]*entriesAtRisk // by provider
}

// entriesAtRisk are those to be looked after.
type entriesAtRisk struct {
	left map[DocID]*entryView
	busy bool // somebody does
}

// of is the view of an entry that is to be looked after.
func (r *rescue) of(id DocID) (*entryView, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.entries[id.Provider]; at != nil {
		v, ok := at.left[id]
		return v, ok
	}
	return nil, false
}

// settled says that an entry needs no more looking after.
func (r *rescue) settled(id DocID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.entries[id.Provider]; at != nil {
		delete(at.left, id)
	}
}

// lost reports whether a store that holds one record must have lost the other, which is known to have been in it. A record
// that a starting instance stored from a file is no newer than one that was lost, whatever its time.
func lost(known, stored Record) bool {
	switch {
	case known.Tag == "" || known.Tag == stored.Tag:
		return false
	case stored.Kept != 0: // put back by somebody, who may have known less
		return stored.Losses > known.Losses && known.written() > stored.Kept
	case stored.Revision > known.Revision:
		return false
	}
	return stored.At <= known.At || stored.Note == seedNote
}

// written is when somebody wrote what the record says.
func (r Record) written() Instant { return cmp.Or(r.Kept, r.At) }

// failoverLag is how much of what was written before a write that a failover lost it may have lost, too.
const failoverLag = 10 * time.Second

// putBack is the record that puts r back over what is stored.
func (r Record) putBack(over Record) Record {
	next := r.again()
	next.Revision, next.Losses = max(r.Revision, over.Revision)+1, max(r.Losses, over.Losses)+1
	if next.Kept, next.Since = r.written(), 0; over.Tag != "" {
		next.Since = next.Kept - Instant(failoverLag/time.Microsecond)
	}
	next.By, next.Note = "permitd", fmt.Sprintf("put back: the store had lost revision %d", r.Revision)
	return next
}

// PutBack is how many documents this instance has put back into a store that had lost them.
func (c *Coordinator) PutBack() int64 { return c.rescue.done.Load() }

// keptPolicy is the policy that the store has, after what is known of it was put back if the store has lost that.
func (c *Coordinator) keptPolicy(ctx context.Context, provider string, r Record) (Record, error) {
	known, ok := c.policies.Load(provider)
	if !ok {
		return r, nil
	}
	id, before := DocID{Provider: provider}, known.(*policyView).record
	r, err := c.surely(ctx, id, before, r)
	if err != nil || !lost(before, r) {
		if err == nil && r.Losses > before.Losses {
			c.rescueEntries(provider, r.Since)
		}
		return r, err
	}
	ctx, cancel := c.patient(ctx, time.Now(), 1)
	defer cancel()
	select {
	case c.rescue.policy <- struct{}{}:
		defer func() { <-c.rescue.policy }()
	case <-ctx.Done():
		return r, context.Cause(ctx)
	}
	for range maxRounds {
		known, ok := c.policies.Load(provider)
		if !ok || !lost(known.(*policyView).record, r) {
			return r, nil
		}
		v := known.(*policyView)
		stored, err := c.store.Swap(ctx, id, r.Tag, v.record.putBack(r))
		switch {
		case err == nil:
			c.rescue.done.Add(1)
			c.log.Warn("the store had lost a policy, which was put back", "provider", provider, "lost", v.record.Revision, "found", r.Revision, "revision", stored.Revision)
			c.rescueEntries(provider, stored.Since)
			return stored, nil
		case !errors.Is(err, ErrConflict):
			return r, err
		}
		r = stored
	}
	return r, fmt.Errorf("%w: it loses documents faster than they can be put back", ErrStoreUnavailable)
}

// surely is a record that was read, or, where it seems that something was lost, what is read now: the first may have been read
// before what is known was written.
func (c *Coordinator) surely(ctx context.Context, id DocID, known, r Record) (Record, error) {
	if !lost(known, r) {
		return r, nil
	}
	return c.store.Load(ctx, id)
}

// rescueFresh is for how long after an entry was last seen in the store it is put back: later, it may have been deleted.
const rescueFresh = 24 * time.Hour

// rescueEntries has the entries of a provider looked after that are known here, and were written after a moment.
func (c *Coordinator) rescueEntries(provider string, since Instant) {
	c.rescue.mu.Lock()
	defer c.rescue.mu.Unlock()
	if c.rescue.entries == nil {
		c.rescue.entries = map[string]*entriesAtRisk{}
	}
	at := c.rescue.entries[provider]
	if at == nil {
		at = &entriesAtRisk{left: map[DocID]*entryView{}}
		c.rescue.entries[provider] = at
	}
	for _, id := range c.entries.Keys() {
		if v, ok := c.entries.Peek(id); ok && id.Provider == provider && v.record.Tag != "" && v.record.written() > since &&
			Instant(v.seen.Load()).Later(rescueFresh) > c.now() {
			at.left[id] = v
		}
	}
	c.startRescue(provider, at)
}

// startRescue has somebody look after entries. The lock is held.
func (c *Coordinator) startRescue(provider string, at *entriesAtRisk) {
	if !at.busy {
		at.busy = true
		go c.lookAfter(provider, at)
	}
}

// resumeRescues goes on with what was left when the store gave no answer.
func (c *Coordinator) resumeRescues() {
	c.rescue.mu.Lock()
	defer c.rescue.mu.Unlock()
	for provider, at := range c.rescue.entries {
		c.startRescue(provider, at)
	}
}

// lookAfter goes through the entries of a provider that may have been lost, until the store gives no answer.
func (c *Coordinator) lookAfter(provider string, at *entriesAtRisk) {
	for {
		var id DocID
		c.rescue.mu.Lock()
		for id = range at.left {
			break
		}
		if id.Name == "" {
			delete(c.rescue.entries, provider)
			c.rescue.mu.Unlock()
			return
		}
		c.rescue.mu.Unlock()
		r, err := c.store.Load(context.Background(), id)
		if err == nil {
			err = c.adoptEntry(context.Background(), id, r)
		}
		if err != nil && !errors.Is(err, ErrUnreadable) {
			c.rescue.mu.Lock()
			at.busy = false
			c.rescue.mu.Unlock()
			return
		}
	}
}

// keptEntry is the entry that the store has, after what is known of it was put back if the store has lost that. An entry of a
// provider that nothing was lost of was deleted if it is not there, and created again if it is there with another origin.
func (c *Coordinator) keptEntry(ctx context.Context, id DocID, r Record) (Record, error) {
	v, ok := c.rescue.of(id)
	if !ok {
		if v, ok = c.entries.Peek(id); !ok || r.Tag == "" || r.Origin != v.record.Origin {
			return r, nil
		}
	}
	r, err := c.surely(ctx, id, v.record, r)
	if err != nil {
		return r, err
	}
	if policy, known := c.policies.Load(id.Provider); known && lost(v.record, r) && policy.(*policyView).record.Generation == v.record.Generation {
		stored, err := c.store.Swap(ctx, id, r.Tag, v.record.putBack(r))
		switch {
		case err == nil:
			c.rescue.done.Add(1)
			c.log.Warn("the store had lost an entry, which was put back", "provider", id.Provider, "kind", id.Kind, "name", id.Name, "revision", stored.Revision)
		case !errors.Is(err, ErrConflict):
			return r, err
		}
		r = stored
	}
	c.rescue.settled(id)
	return r, nil
}
