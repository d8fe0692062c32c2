package limiter

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"strconv"
)

// DocID names a stored document: the policy of a provider (Kind and Name empty), or one of its entries.
type DocID struct {
	Provider string
	Kind     EntryKind
	Name     string // key id or name of the pool
}

// String names the document as people would, "the policy of openai" or "the key entry k_… of openai".
func (id DocID) String() string {
	if id.Kind == "" {
		return "the policy of " + id.Provider
	}
	return "the " + string(id.Kind) + " entry " + id.Name + " of " + id.Provider
}

// Record is a document as a store keeps it. A Record with a Tag and no Body is a deleted document: its numbering goes
// on, and counters still drain by what it remembers.
type Record struct {
	Revision int64   `json:"revision"` // from 1, one more with every write
	Tag      string  `json:"tag"`      // random, new with every write: two histories never share one
	At       Instant `json:"at"`       // store time of the write, set by the store
	// Origin is the tag of the first record: a document that was forgotten and created again has another.
	Origin string `json:"origin,omitempty"`
	By     string `json:"by,omitempty"`
	Note   string `json:"note,omitempty"`
	// Generation is the revision at which the provider was created: counters and entries of a deleted one never come back.
	Generation string           `json:"generation,omitempty"`
	Body       []byte           `json:"body,omitempty"` // as written
	Tracks     map[string]Track `json:"tracks,omitempty"`
	// Losses is how often it was put back (see putback.go). In a record that puts one back, Kept is when that was written, and
	// Since a moment after which the store lost what was written: 0 if it lost all.
	Losses int64   `json:"losses,omitempty"`
	Kept   Instant `json:"kept,omitempty"`
	Since  Instant `json:"since,omitempty"`

	// Of the entry of a key that was rotated (see rotate.go):
	Root    string `json:"root,omitempty"`    // the key id under which the entry is kept; nothing else counts then
	Current string `json:"current,omitempty"` // of the root: the key id that is good for good
	// Former are key ids that were good before, and until when they are; in a record that is being written, a time of 0 or less
	// is one from the write on.
	Former map[string]Instant `json:"former,omitempty"`
}

// Blank reports whether nothing of the record of an entry has to be kept.
func (r Record) Blank() bool {
	return r.deleted() && len(r.Tracks) == 0 && r.Root == "" && r.Current == ""
}

// Size returns about how many bytes the record takes in a history.
func (r Record) Size() int { return len(r.Body) + len(r.By) + len(r.Note) + 100 }

// Track is what has to be remembered of one limit (in a policy's record) or override (in an entry's) through the
// revisions of a document, so that counters survive edits: since when its counters count what they do, and at which
// speed they drained when.
type Track struct {
	Born     int64    `json:"born"`              // revision at which the counters began
	Identity string   `json:"identity"`          // what the counters mean
	Gone     int64    `json:"gone,omitzero"`     // first revision without the limit; 0 while the document has it
	Reset    int64    `json:"reset,omitzero"`    // of an entry: revision at which usage was last forgotten; 0: never
	Changes  []Change `json:"changes,omitempty"` // oldest first, at most maxChanges
	Cut      bool     `json:"cut,omitempty"`     // older changes were dropped;
	Slowest  Rate     `json:"slowest,omitzero"`  // this is the slowest of their rates, zero where that is not known
}

// Change is a new speed.
type Change struct {
	At   Instant `json:"at"` // 0 in a record that is being written: the moment of the write
	Spec spec    `json:"spec"`
}

const (
	maxChanges = 16
	maxGone    = MaxLimits // tracks kept of limits that the document no longer has
)

// newTag is a tag: 130 random bits.
func newTag() string { return rand.Text() }

// deleted reports whether there is no document, though there may have been one.
func (r Record) deleted() bool { return r.Body == nil }

// successor is the record that follows r once the store has set its time.
func (r Record) successor() Record {
	tag := newTag()
	return Record{
		Revision: r.Revision + 1, Tag: tag, Origin: cmp.Or(r.Origin, tag),
		Generation: r.Generation, Losses: r.Losses, Since: r.Since,
	}
}

// again is the record that follows r when nothing changes.
func (r Record) again() Record {
	next := r
	next.Revision, next.Tag, next.By, next.Note, next.At, next.Kept = r.Revision+1, newTag(), "", "", 0, 0
	next.Origin = cmp.Or(r.Origin, next.Tag)
	next.Tracks = maps.Clone(r.Tracks)
	return next
}

// nextPolicy is the record that follows r when p is written, and the limits whose counters start afresh.
func (r Record) nextPolicy(p *Policy) (next Record, restarted []string) {
	next = r.successor()
	next.Body = p.Body()
	if r.deleted() {
		next.Generation = strconv.FormatInt(next.Revision, 10)
		next.Tracks = map[string]Track{}
	} else {
		next.Tracks = r.goneTracks()
	}
	for _, l := range p.Limits {
		t, had := next.Tracks[l.Name]
		if !had || t.Identity != l.identity() {
			if had && r.Tracks[l.Name].Gone == 0 {
				restarted = append(restarted, l.Name)
			}
			t = Track{Born: next.Revision, Identity: l.identity()}
		}
		t.Gone = 0
		if l.Kind == KindRate {
			t = t.with(l.spec(), spec.rate)
		}
		next.Tracks[l.Name] = t
	}
	forgetGone(next.Tracks)
	return next, restarted
}

// nextEntry is the record that follows r when e is written, or, without a body, deleted, for a provider's generation.
func (r Record) nextEntry(e *Entry, generation string) Record {
	r = r.of(generation)
	next := r.successor()
	next.Body, next.Generation = e.Body(), generation
	next.Current, next.Former = r.Current, r.Former
	next.Tracks = r.goneTracks()
	for name, t := range next.Tracks {
		if e.override(name) == nil && len(t.Changes) > 0 { // back to what the policy says, from now on
			next.Tracks[name] = t.with(spec{}, unknownRate)
		}
	}
	for i := range e.Overrides {
		o := &e.Overrides[i]
		t, had := next.Tracks[o.Limit]
		if identity := string(o.Period); !had || t.Identity != identity {
			t.Born, t.Identity = next.Revision, identity
		}
		t.Gone = 0
		next.Tracks[o.Limit] = t.with(o.spec(), unknownRate)
	}
	forgetGone(next.Tracks)
	return next
}

// of is r, or, if it is an entry of another generation, which does not count any more, no more of it than its numbering.
func (r Record) of(generation string) Record {
	if r.Generation == generation {
		return r
	}
	return Record{Revision: r.Revision, Tag: r.Tag, Origin: r.Origin, Generation: generation}
}

// nextReset is the record that follows r when the usage of some limits is forgotten: their counters get other names. In an
// entry that is usage of its key or pool, in a policy all of it.
func (r Record) nextReset(kind EntryKind, limits []string) Record {
	next := r.again()
	if next.Tracks == nil {
		next.Tracks = map[string]Track{}
	}
	for _, name := range limits {
		t := next.Tracks[name]
		if kind == "" {
			t.Born = next.Revision
		} else {
			t.Reset = next.Revision
		}
		next.Tracks[name] = t
	}
	return next
}

// unknownRate: what an override alone makes of a rate can't be told.
func unknownRate(spec) Rate { return Rate{} }

// goneTracks are the tracks of r, all marked as gone until the next document is seen to have them.
func (r Record) goneTracks() map[string]Track {
	tracks := make(map[string]Track, len(r.Tracks))
	for name, t := range r.Tracks {
		if t.Gone == 0 {
			t.Gone = r.Revision + 1
		}
		tracks[name] = t
	}
	return tracks
}

// forgetGone drops the tracks of limits that are gone longest, if there are more than may be kept.
func forgetGone(tracks map[string]Track) {
	gone := slices.DeleteFunc(slices.Sorted(maps.Keys(tracks)), func(name string) bool {
		return tracks[name].Gone == 0 || tracks[name].Reset > 0 // what was reset must not come back
	})
	slices.SortStableFunc(gone, func(a, b string) int { return cmp.Compare(tracks[b].Gone, tracks[a].Gone) })
	for _, name := range gone[min(len(gone), maxGone):] {
		delete(tracks, name)
	}
}

// with is the track after an edit to s, unless that changes nothing.
func (t Track) with(s spec, rate func(spec) Rate) Track {
	if n := len(t.Changes); n > 0 && t.Changes[n-1].Spec == s {
		return t
	}
	t.Changes = append(slices.Clone(t.Changes), Change{Spec: s})
	if len(t.Changes) > maxChanges {
		if dropped := rate(t.Changes[0].Spec); !t.Cut || dropped.slower(t.Slowest) {
			t.Cut, t.Slowest = true, dropped
		}
		t.Changes = t.Changes[1:]
	}
	return t
}

// Stamped is the record as a store returns it: changes that were made by the write itself carry its time. Where the clock
// stepped back before the write, earlier changes are dated back to it, so that they stay in order.
func (r Record) Stamped() Record {
	tracks := maps.Clone(r.Tracks)
	for name, t := range tracks {
		if n := len(t.Changes); n > 0 && t.Changes[n-1].At == 0 {
			t.Changes = slices.Clone(t.Changes)
			t.Changes[n-1].At = r.At
			for i := range t.Changes {
				t.Changes[i].At = min(t.Changes[i].At, r.At)
			}
			tracks[name] = t
		}
	}
	r.Tracks = tracks
	for id, until := range r.Former {
		if until <= 0 {
			r.Former = maps.Clone(r.Former)
			r.Former[id] = r.At - until
		}
	}
	return r
}
