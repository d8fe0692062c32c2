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

// Policies returns those of the providers after a name, in the order of their names: a page of at most n and about
// [PageSize] bytes. more reports whether there are policies after these.
func (c *Coordinator) Policies(ctx context.Context, after string, n int) (docs []PolicyDoc, more bool, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	names, err := c.providers(ctx)
	if err != nil {
		return nil, false, err
	}
	at, found := slices.BinarySearch(names, after)
	if found {
		at++
	}
	size := 0
	for _, name := range names[at:] {
		d, err := c.listedPolicy(ctx, name)
		switch {
		case errors.Is(err, ErrUnknownProvider): // deleted
			continue
		case err != nil:
			return nil, false, err
		case len(docs) == n || size >= PageSize:
			return docs, true, nil
		}
		docs, size = append(docs, d), size+len(d.Policy.Body())
	}
	return docs, false, nil
}

// providers returns the names of all providers that have a policy, or had one, sorted: also of those that the store has lost.
func (c *Coordinator) providers(ctx context.Context) ([]string, error) {
	names, err := c.store.Providers(ctx)
	if err != nil {
		return nil, err
	}
	c.policies.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	slices.Sort(names)
	return slices.Compact(names), nil
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
	v, err := c.viewOf(provider, r)
	if err != nil {
		return nil, err
	}
	c.isKnown(provider)
	c.policies.Store(provider, v)
	return v, nil
}

// viewOf returns a policy as it is used: the same as before where it is the same record.
func (c *Coordinator) viewOf(provider string, r Record) (*policyView, error) {
	if known, ok := c.policies.Load(provider); ok && known.(*policyView).record.Tag == r.Tag {
		return known.(*policyView), nil
	}
	return newPolicyView(provider, r)
}
