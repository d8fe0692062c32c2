package memstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/permitd/permitd/limiter"
)

// documents are the policies and entries. Decisions read them without waiting for writers: a write publishes the new
// record first, and then waits until every decision that may have seen the old one has ended.
type documents struct {
	providers atomic.Pointer[map[string]*provider] // copied on write
	writing   sync.Mutex
}

// provider holds one provider's documents. A nil provider has none.
type provider struct {
	policy  atomic.Pointer[limiter.Record]
	entries sync.Map     // limiter.DocID → *limiter.Record
	count   atomic.Int64 // of entries
}

func (d *documents) provider(name string) *provider {
	return d.all()[name]
}

func (d *documents) all() map[string]*provider {
	if m := d.providers.Load(); m != nil {
		return *m
	}
	return nil
}

// load is the record of a document, or nil.
func (p *provider) load(id limiter.DocID) *limiter.Record {
	switch {
	case p == nil:
		return nil
	case id.Kind == "":
		return p.policy.Load()
	case p.count.Load() == 0:
		return nil
	}
	r, ok := p.entries.Load(id)
	if !ok {
		return nil
	}
	return r.(*limiter.Record)
}

func (p *provider) store(id limiter.DocID, r *limiter.Record) {
	if id.Kind == "" {
		p.policy.Store(r)
		return
	}
	if _, had := p.entries.Swap(id, r); !had {
		p.count.Add(1)
	}
}

// current reports whether a charge was resolved under the documents that are in force, and where it was not fills in
// what is.
func (p *provider) current(c *limiter.Charge) bool {
	now := &c.Outcome.Current
	now.Policy = changed(p.load(limiter.DocID{Provider: c.Provider}), c.Stamps.Policy)
	if c.KeyID != "" {
		now.Key = changed(p.load(limiter.DocID{Provider: c.Provider, Kind: limiter.KeyEntry, Name: c.KeyID}), c.Stamps.Key)
	}
	if c.Pool != "" {
		now.Pool = changed(p.load(limiter.DocID{Provider: c.Provider, Kind: limiter.PoolEntry, Name: c.Pool}), c.Stamps.Pool)
	}
	return *now == limiter.Current{}
}

var never limiter.Record

// changed is r unless it has the tag.
func changed(r *limiter.Record, tag string) *limiter.Record {
	switch {
	case r == nil && tag == "", r != nil && r.Tag == tag:
		return nil
	case r == nil:
		return &never
	}
	return r
}

// Load implements [limiter.Store].
func (s *Store) Load(ctx context.Context, id limiter.DocID) (limiter.Record, error) {
	if r := s.documents.provider(id.Provider).load(id); r != nil {
		return *r, context.Cause(ctx)
	}
	return limiter.Record{}, context.Cause(ctx)
}

// Swap implements [limiter.Store].
func (s *Store) Swap(ctx context.Context, id limiter.DocID, prev string, next limiter.Record) (limiter.Record, error) {
	if err := context.Cause(ctx); err != nil {
		return limiter.Record{}, err
	}
	d := &s.documents
	d.writing.Lock()
	defer d.writing.Unlock()
	p := d.provider(id.Provider)
	if r := p.load(id); changed(r, prev) != nil {
		return *changed(r, prev), limiter.ErrConflict
	}
	if p == nil {
		p = &provider{}
		all := map[string]*provider{id.Provider: p}
		maps.Copy(all, d.all())
		d.providers.Store(&all)
	}
	next.At = s.clock()
	next = next.Stamped()
	p.store(id, &next)
	s.barrier()
	return next, nil
}

// Providers implements [limiter.Store].
func (s *Store) Providers(ctx context.Context) ([]string, error) {
	var names []string
	for name, p := range s.documents.all() {
		if r := p.policy.Load(); r != nil && r.Body != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, context.Cause(ctx)
}
