package memstore

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

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
	mu      sync.Mutex   // of what follows
	names   map[limiter.EntryKind]*btree.Set[string]
	history []limiter.Record // the oldest first
	size    int              // of that
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
		p.remember(*r)
		p.policy.Store(r)
		return
	}
	if r.Blank() {
		p.forget(id)
	} else if _, had := p.entries.Swap(id, r); !had {
		p.count.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.names[id.Kind] == nil {
			p.names[id.Kind] = &btree.Set[string]{}
		}
		p.names[id.Kind].Insert(id.Name)
	}
}

func (p *provider) forget(id limiter.DocID) {
	if _, had := p.entries.LoadAndDelete(id); had {
		p.count.Add(-1)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.names[id.Kind].Delete(id.Name)
	}
}

// remember adds to the history of the policy.
func (p *provider) remember(r limiter.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Tag, r.Tracks = "", nil
	p.history = append(p.history, r)
	p.size += r.Size()
	gone := 0
	for len(p.history)-gone > limiter.HistoryLength || p.size-p.history[gone].Size() >= limiter.HistorySize {
		p.size -= p.history[gone].Size()
		gone++
	}
	p.history = slices.Delete(p.history, 0, gone)
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
	next = s.write(p, id, next)
	s.barrier()
	return next, nil
}

// SwapAll implements [limiter.Store].
func (s *Store) SwapAll(ctx context.Context, writes []limiter.Write) (limiter.Record, error) {
	if err := context.Cause(ctx); err != nil {
		return limiter.Record{}, err
	}
	s.documents.writing.Lock()
	defer s.documents.writing.Unlock()
	for _, w := range writes {
		if changed(s.documents.provider(w.ID.Provider).load(w.ID), w.Prev) != nil {
			return limiter.Record{}, limiter.ErrConflict
		}
	}
	var first limiter.Record
	for i, w := range writes {
		if r := s.write(s.documents.provider(w.ID.Provider), w.ID, w.Next); i == 0 {
			first = r
		}
	}
	s.barrier()
	return first, nil
}

// write stores a record, and returns it as it will be read.
func (s *Store) write(p *provider, id limiter.DocID, next limiter.Record) limiter.Record {
	d := &s.documents
	if p == nil {
		p = &provider{names: map[limiter.EntryKind]*btree.Set[string]{}}
		all := map[string]*provider{id.Provider: p}
		maps.Copy(all, d.all())
		d.providers.Store(&all)
	}
	next.At = s.clock()
	next = next.Stamped()
	p.store(id, &next)
	if id.Kind != "" && next.Blank() {
		return limiter.Record{}
	}
	return next
}

// History implements [limiter.Store].
func (s *Store) History(ctx context.Context, provider string, before int64, n int) (records []limiter.Record, oldest int64, err error) {
	p := s.documents.provider(provider)
	if p == nil {
		return nil, 0, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	size := 0
	for _, r := range slices.Backward(p.history) {
		if len(records) < n && size < limiter.PieceSize && (before == 0 || r.Revision < before) {
			records, size = append(records, r), size+r.Size()
		}
		oldest = r.Revision
	}
	return records, oldest, context.Cause(ctx)
}

// List implements [limiter.Store].
func (s *Store) List(ctx context.Context, provider string, kind limiter.EntryKind, after string, n int) ([]limiter.NamedRecord, error) {
	p := s.documents.provider(provider)
	if p == nil {
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var records []limiter.NamedRecord
	size := 0
	if p.names[kind] != nil {
		p.names[kind].Ascend(after, func(name string) bool {
			if name != after {
				if r := p.load(limiter.DocID{Provider: provider, Kind: kind, Name: name}); r != nil {
					records, size = append(records, limiter.NamedRecord{Name: name, Record: *r}), size+r.Size()
				}
			}
			return len(records) < n && size < limiter.PieceSize
		})
	}
	return records, context.Cause(ctx)
}

// Clear implements [limiter.Store].
func (s *Store) Clear(ctx context.Context, provider string, revision int64) error {
	s.documents.writing.Lock()
	defer s.documents.writing.Unlock()
	if p := s.documents.provider(provider); p != nil {
		p.entries.Range(func(id, r any) bool {
			if generation, err := strconv.ParseInt(r.(*limiter.Record).Generation, 10, 64); err == nil && generation <= revision {
				p.forget(id.(limiter.DocID))
			}
			return true
		})
	}
	return context.Cause(ctx)
}

// Instances implements [limiter.Store]: a store in memory has one.
func (s *Store) Instances(ctx context.Context, self *limiter.Instance) ([]limiter.Instance, error) {
	if self != nil {
		return []limiter.Instance{*self}, context.Cause(ctx)
	}
	return nil, context.Cause(ctx)
}

// Providers implements [limiter.Store].
func (s *Store) Providers(ctx context.Context) ([]string, error) {
	var names []string
	for name, p := range s.documents.all() {
		if p.policy.Load() != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, context.Cause(ctx)
}
