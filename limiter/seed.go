package limiter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ProviderDocs are the documents of one provider, as a file holds them.
type ProviderDocs struct {
	Provider string
	Policy   *Policy
	Entries  []EntryDoc
}

// EntryDoc is the entry of one key or pool.
type EntryDoc struct {
	Name  string // key id or name of the pool
	Entry *Entry
}

// SeedResult says what [Coordinator.Seed] found.
type SeedResult uint8

// What Seed may find.
const (
	SeedStored  SeedResult = iota + 1 // the store did not know the provider: the documents were stored
	SeedSame                          // the store has this very policy
	SeedDiffers                       // the store has another policy, which stays in force
)

// seedNote is what the history says of a policy that Seed stored.
const seedNote = "stored at start, from the file of policies"

// assumedGeneration is that of documents that are not in the store.
const assumedGeneration = "assumed"

// Assume has asks for a provider decided by these documents, as [StandIn] does, until the store has said which are in force.
func (c *Coordinator) Assume(docs ProviderDocs) error {
	r, _ := Record{}.nextPolicy(docs.Policy)
	r.Revision, r.Tag, r.Generation, r.At = 0, "", assumedGeneration, c.now()
	v, err := newPolicyView(docs.Provider, r.Stamped())
	if err != nil {
		return err
	}
	for _, e := range docs.Entries {
		r := Record{}.nextEntry(e.Entry, assumedGeneration)
		r.Revision, r.Tag, r.At = 0, "", c.now()
		id := DocID{docs.Provider, e.Entry.Kind, e.Name}
		v, err := newEntryView(id, r.Stamped())
		if err != nil {
			return err
		}
		c.entries.Add(id, v)
	}
	if _, again := c.assumed.Swap(docs.Provider, v); !again {
		c.assuming.Add(1)
	}
	return nil
}

// isKnown says that the store has told what is in force at a provider.
func (c *Coordinator) isKnown(provider string) {
	if _, assumed := c.assumed.LoadAndDelete(provider); assumed {
		c.assuming.Add(-1)
	}
}

// Seed stores documents of a provider that the store does not know. What is stored already, tuned by operators perhaps,
// is left as it is. Instances that start together may all call it: the documents are stored once.
func (c *Coordinator) Seed(ctx context.Context, docs ProviderDocs) (SeedResult, error) {
	id := DocID{Provider: docs.Provider}
	r, err := c.store.Load(ctx, id)
	if err != nil {
		return 0, err
	}
	if r.Tag == "" {
		next, _ := r.nextPolicy(docs.Policy)
		next.Note = seedNote
		for _, e := range docs.Entries { // before the policy, so that whoever sees the provider sees its entries
			if err := c.seedEntry(ctx, docs.Provider, next.Generation, e); err != nil {
				return 0, fmt.Errorf("%s entry %s: %w", e.Entry.Kind, e.Name, err)
			}
		}
		r, err = c.store.Swap(ctx, id, r.Tag, next)
		if err == nil {
			c.adoptPolicy(ctx, docs.Provider, r)
			return SeedStored, nil
		}
		if !errors.Is(err, ErrConflict) {
			return 0, err
		}
	}
	c.adoptPolicy(ctx, docs.Provider, r) // if it can: what is wrong with it, whoever asks for a permit is told
	if bytes.Equal(r.Body, docs.Policy.Body()) {
		return SeedSame, nil
	}
	return SeedDiffers, nil
}

// seedEntry stores an entry unless there is one.
func (c *Coordinator) seedEntry(ctx context.Context, provider, generation string, e EntryDoc) error {
	next := Record{}.nextEntry(e.Entry, generation)
	next.Note = seedNote
	_, err := c.store.Swap(ctx, DocID{provider, e.Entry.Kind, e.Name}, "", next)
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}
