package limiter

import (
	"slices"
	"strings"
)

// EntryKind says what an entry is about.
type EntryKind string

// The kinds of entry.
const (
	KeyEntry  EntryKind = "key"  // one API key, by its key id
	PoolEntry EntryKind = "pool" // one account at the provider, by a name that key entries use
)

// Entry is the validated document of one key or pool. It is immutable; make one with [ParseEntry].
type Entry struct {
	Kind      EntryKind
	Label     string
	Pool      string // of a key: the pool that it belongs to, or ""
	Disabled  bool
	Overrides []Override // by limit

	body []byte
}

// Body is the document as it was written, in JSON.
func (e *Entry) Body() []byte { return e.body }

// ParseEntry reads and checks the document of a key or pool against the policy in force. Every broken rule is named in
// the [*InvalidError] that it returns.
func ParseEntry(kind EntryKind, doc []byte, p *Policy) (*Entry, error) {
	return replaceEntry(kind, doc, p, &Entry{})
}

// replaceEntry is ParseEntry for a document that replaces another. Overrides that stood there already may stay as they are,
// though the policy was edited since and they no longer fit it: see [Entry.Misfits].
func replaceEntry(kind EntryKind, doc []byte, p *Policy, before *Entry) (*Entry, error) {
	var f faults
	root := parseTree(doc, &f)
	e := &Entry{Kind: kind}
	if root.object() {
		e.read(root)
		for _, o := range e.Overrides {
			if fault := o.misfit(kind, p); fault != "" && !slices.Contains(before.Overrides, o) {
				f.add(pointer("/limits", o.Limit), "%s", fault)
			}
		}
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	e.body = compact(doc)
	return e, nil
}

// loadEntry reads a stored document, which was checked against the policy of its time.
func loadEntry(kind EntryKind, doc []byte) (*Entry, error) {
	var f faults
	e := &Entry{Kind: kind, body: doc}
	if root := parseTree(doc, &f); root.object() {
		e.read(root)
	}
	return e, f.err()
}

func (e *Entry) read(n *node) {
	known := "label, limits, disabled"
	if l := n.take("label"); l.str(&e.Label) && e.Label != "" && !Printable(e.Label, MaxLabelLen) {
		l.fail("must be at most %d printable characters", MaxLabelLen)
	}
	if e.Kind == KeyEntry {
		known = "label, pool, limits, disabled"
		if p := n.take("pool"); p.str(&e.Pool) && !ValidName(e.Pool) {
			p.fail("a pool's name must match %s", namePattern)
		}
	}
	n.take("disabled").boolean(&e.Disabled)
	if limits := n.take("limits"); limits != nil && limits.object() {
		if len(limits.members) > MaxLimits {
			limits.fail("overrides %d limits; at most %d are allowed", len(limits.members), MaxLimits)
		}
		for _, m := range limits.members {
			e.readOverride(m.name, m.node)
		}
		slices.SortFunc(e.Overrides, func(a, b Override) int { return strings.Compare(a.Limit, b.Limit) })
	}
	n.rest(known)
}

// override finds what is overridden of a limit, or nil.
func (e *Entry) override(limit string) *Override {
	for i := range e.Overrides {
		if e.Overrides[i].Limit == limit {
			return &e.Overrides[i]
		}
	}
	return nil
}
