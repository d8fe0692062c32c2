package limiter

import (
	"cmp"
	"slices"
	"strings"
	"time"
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

// Override replaces some figures of one limit for one key or pool. Zero values leave what the policy says.
type Override struct {
	Limit  string
	Amount int64
	Burst  int64
	Per    time.Duration // of a rate
	Period Period        // of a quota
	Mode   Mode
}

// ParseEntry reads and checks the document of a key or pool against the policy in force. Every broken rule is named in
// the [*InvalidError] that it returns.
func ParseEntry(kind EntryKind, doc []byte, p *Policy) (*Entry, error) {
	var f faults
	root := parseTree(doc, &f)
	e := &Entry{Kind: kind}
	if root.object() {
		e.read(root)
		for _, o := range e.Overrides {
			at := pointer("/limits", o.Limit)
			switch l := p.Limit(o.Limit); {
			case l == nil:
				f.add(at, "the policy has no limit of this name%s", didYouMean(o.Limit, p.limitNames()))
			case string(l.Scope) != string(kind):
				f.add(at, "is a limit of scope %s; a %s entry overrides limits of scope %s only", l.Scope, kind, kind)
			default:
				if _, fault := o.apply(l); fault != "" {
					f.add(at, "%s", fault)
				}
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

func (e *Entry) readOverride(limit string, n *node) {
	if !n.object() {
		return
	}
	o := Override{Limit: limit}
	n.take("amount").integer(&o.Amount, 1, MaxAmount)
	n.take("burst").integer(&o.Burst, 1, MaxAmount)
	if per := n.take("per"); per != nil && slices.Contains(periods, Period(per.text)) {
		o.Period = Period(per.text)
	} else {
		per.duration(&o.Per, MinPer, MaxPer)
	}
	oneOf(n.take("mode"), &o.Mode, Enforce, Shadow)
	n.rest("amount, per, burst, mode")
	e.Overrides = append(e.Overrides, o)
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

// apply is the limit with the override on top, or why that can't be.
func (o *Override) apply(l *Limit) (_ *Limit, fault string) {
	switch {
	case o.Burst > 0 && l.Kind != KindRate:
		return nil, "only a limit of kind rate has a burst"
	case o.Per > 0 && l.Kind != KindRate:
		return nil, "only a limit of kind rate has a duration as per; a quota has hour, day, week or month"
	case o.Period != "" && l.Kind != KindQuota:
		return nil, "only a limit of kind quota has a calendar period as per; a rate has a duration such as 1m"
	}
	n := *l
	n.Mode = cmp.Or(o.Mode, l.Mode)
	n.Amount = cmp.Or(o.Amount, l.Amount)
	n.Burst = n.Amount
	n.Calendar.Period = cmp.Or(o.Period, l.Calendar.Period)
	if l.Kind == KindRate {
		s := l.spec().with(o.spec())
		n.burst, n.Burst, n.Per = s.Burst, s.burst(), time.Duration(s.Per)*time.Microsecond
		fault = s.fault()
	}
	return &n, fault
}

// spec is what the override changes of a rate; zeros change nothing.
func (o *Override) spec() spec {
	return spec{Amount: o.Amount, Burst: o.Burst, Per: int64(o.Per / time.Microsecond)}
}
