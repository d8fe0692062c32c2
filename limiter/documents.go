package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// PolicyDoc is a provider's policy as it is stored.
type PolicyDoc struct {
	Provider   string
	Revision   int64
	Tag        string // new with every write
	Policy     *Policy
	Unreadable error // in a list: why this version can't read the policy, which has nothing but its Body then; else nil
}

// Policy is the policy in force at a provider, or [ErrUnknownProvider].
func (c *Coordinator) Policy(ctx context.Context, provider string) (PolicyDoc, error) {
	v, err := c.livePolicy(ctx, provider)
	if err != nil {
		return PolicyDoc{}, err
	}
	return v.doc(provider), nil
}

// listedPolicy is the policy of a provider for a list, which one that can't be read must not spoil.
func (c *Coordinator) listedPolicy(ctx context.Context, provider string) (PolicyDoc, error) {
	r, err := c.store.Load(ctx, DocID{Provider: provider})
	if err != nil {
		return PolicyDoc{}, err
	}
	v, err := c.adoptPolicy(ctx, provider, r)
	if errors.Is(err, ErrUnreadable) {
		return PolicyDoc{provider, r.Revision, r.Tag, &Policy{body: r.Body}, err}, nil
	}
	if err != nil {
		return PolicyDoc{}, err
	}
	return v.doc(provider), nil
}

// Policies are those of all providers, by name.
func (c *Coordinator) Policies(ctx context.Context) ([]PolicyDoc, error) {
	names, err := c.store.Providers(ctx)
	if err != nil {
		return nil, err
	}
	docs := make([]PolicyDoc, 0, len(names))
	for _, name := range names {
		d, err := c.listedPolicy(ctx, name)
		if errors.Is(err, ErrUnknownProvider) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	c.policies.Range(func(name, _ any) bool { // not listed: deleted, or lost by the store
		if _, listed := slices.BinarySearch(names, name.(string)); listed {
			return true
		}
		var d PolicyDoc
		if d, err = c.listedPolicy(ctx, name.(string)); err == nil {
			docs = append(docs, d)
		} else if errors.Is(err, ErrUnknownProvider) {
			err = nil
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(docs, func(a, b PolicyDoc) int { return strings.Compare(a.Provider, b.Provider) })
	return docs, nil
}

// Known returns the policies that this instance decides by, by provider, as it last saw them. It does not ask the store.
func (c *Coordinator) Known() []PolicyDoc {
	var docs []PolicyDoc
	for _, views := range []*sync.Map{&c.policies, &c.assumed} {
		views.Range(func(provider, v any) bool {
			docs = append(docs, v.(*policyView).doc(provider.(string)))
			return true
		})
	}
	slices.SortFunc(docs, func(a, b PolicyDoc) int { return strings.Compare(a.Provider, b.Provider) })
	return docs
}

// adopt takes over the documents that a stale answer brought, unless the store has lost what is known here.
func (c *Coordinator) adopt(ctx context.Context, provider, keyID, pool string, current *Current) error {
	if r := current.Policy; r != nil {
		if _, err := c.adoptPolicy(ctx, provider, *r); err != nil {
			return err
		}
	}
	for id, r := range map[DocID]*Record{
		{provider, KeyEntry, keyID}: current.Key,
		{provider, PoolEntry, pool}: current.Pool,
	} {
		if r == nil {
			continue
		}
		if err := c.adoptEntry(ctx, id, *r); err != nil {
			return err
		}
	}
	return nil
}

// adoptEntry takes over an entry as the store has it.
func (c *Coordinator) adoptEntry(ctx context.Context, id DocID, r Record) error {
	r, err := c.keptEntry(ctx, id, r)
	if err != nil {
		return err
	}
	if r.Tag == "" {
		c.entries.Remove(id)
		return nil
	}
	v, err := newEntryView(id, r)
	if err == nil {
		v.confirm(c.now())
		c.entries.Add(id, v)
	}
	return err
}

// policy is what is known of a provider, read from the store the first time.
func (c *Coordinator) policy(ctx context.Context, provider string) (*policyView, error) {
	if v, ok := c.policies.Load(provider); ok {
		return v.(*policyView), nil
	}
	return c.livePolicy(ctx, provider)
}

// livePolicy is the policy in force, read from the store.
func (c *Coordinator) livePolicy(ctx context.Context, provider string) (*policyView, error) {
	r, err := c.store.Load(ctx, DocID{Provider: provider})
	if err != nil {
		return nil, err
	}
	return c.adoptPolicy(ctx, provider, r)
}

// adoptPolicy takes over a policy as the store has it.
func (c *Coordinator) adoptPolicy(ctx context.Context, provider string, r Record) (*policyView, error) {
	r, err := c.keptPolicy(ctx, provider, r)
	if err != nil {
		return nil, err
	}
	if _, assumed := c.assumed.Load(provider); assumed && r.Tag == "" {
		return nil, fmt.Errorf("%w: it has no policy yet for %s", ErrStoreUnavailable, provider)
	}
	if r.deleted() {
		c.isKnown(provider)
		c.policies.Delete(provider)
		return nil, unknownProvider(provider)
	}
	v, err := newPolicyView(provider, r)
	if err != nil {
		return nil, err
	}
	c.isKnown(provider)
	c.policies.Store(provider, v)
	return v, nil
}
