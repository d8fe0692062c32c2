package limiter

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// policyView is a policy's record made ready for deciding. Immutable.
type policyView struct {
	record Record
	policy *Policy
	terms  []*Terms // of policy.Limits, without overrides

	picking limitSet // limits that have models
	matches matches
	naming  naming
}

// newPolicyView returns the view of a provider's record, or an [*UnreadableError].
func newPolicyView(provider string, r Record) (*policyView, error) {
	p, err := ParsePolicy(r.Body)
	if err != nil {
		return nil, unreadable(DocID{Provider: provider}, r.Revision, err)
	}
	v := &policyView{record: r, policy: p, terms: make([]*Terms, len(p.Limits))}
	for i, l := range p.Limits {
		v.terms[i] = v.newTerms(l, "", nil)
		if len(l.Models) > 0 {
			v.picking |= 1 << i
		}
	}
	v.naming = newNaming(p, v.terms)
	return v, nil
}

// doc is the policy as others may see it.
func (v *policyView) doc(provider string) PolicyDoc {
	return PolicyDoc{Provider: provider, Revision: v.record.Revision, Tag: v.record.Tag, Policy: v.policy}
}

// newTerms makes the terms of a limit whose override, if any, has the given track.
func (v *policyView) newTerms(l *Limit, suffix string, override *Track) *Terms {
	base := v.record.Tracks[l.Name]
	t := &Terms{
		Limit:   l,
		Counter: v.record.Generation + "/" + l.Name + "@" + strconv.FormatInt(base.Born, 10) + suffix,
	}
	if l.Kind == KindRate {
		t.Schedule = newSchedule(base, override)
	}
	return t
}

// newSchedule lays the changes of an override over those of the limit. While an override did not fit the policy, it was
// clamped.
func newSchedule(base Track, override *Track) Schedule {
	s := Schedule{Cut: base.Cut, Slowest: base.Slowest}
	if override == nil {
		for _, c := range base.Changes {
			s.Changes = append(s.Changes, RateChange{c.At, c.Spec.rate()})
		}
		return s
	}
	from := base.Changes[0].At
	switch first := override.Changes[0].At; {
	case override.Cut: // what the dropped overrides were laid over is not known: nothing drains
		from, s.Cut, s.Slowest = max(from, first), true, Rate{}
	case base.Cut && first < from:
		s.Slowest = Rate{}
	}
	times := []Instant{from}
	for _, c := range slices.Concat(base.Changes, override.Changes) {
		times = append(times, max(from, c.At))
	}
	slices.Sort(times)
	for _, at := range slices.Compact(times) {
		effective, _ := specAt(base.Changes, at).over(specAt(override.Changes, at))
		s.Changes = append(s.Changes, RateChange{at, effective.rate()})
	}
	return s
}

// specAt is the spec in force at a moment; zero before the first change.
func specAt(changes []Change, at Instant) (s spec) {
	for _, c := range changes {
		if c.At <= at {
			s = c.Spec
		}
	}
	return s
}

// entryView is an entry's record made ready for deciding.
type entryView struct {
	record Record
	entry  *Entry       // empty when the entry was deleted
	seen   atomic.Int64 // when the store was last seen to have it, to the minute
	laid   atomic.Pointer[laidOver]
}

// laidOver are the terms of an entry over one revision of the policy.
type laidOver struct {
	policy *policyView
	terms  []*Terms // of policy.Limits; nil where the policy's own hold
}

// newEntryView returns the view of an entry's record, or an [*UnreadableError].
func newEntryView(id DocID, r Record) (*entryView, error) {
	v := &entryView{record: r, entry: &Entry{Kind: id.Kind}}
	if !r.deleted() {
		e, err := loadEntry(id.Kind, r.Body)
		if err != nil {
			return nil, unreadable(id, r.Revision, err)
		}
		v.entry = e
	}
	return v, nil
}

// confirm takes note of when the store was seen to have the entry.
func (v *entryView) confirm(now Instant) {
	if v != nil && now > Instant(v.seen.Load()).Later(time.Minute) {
		v.seen.Store(int64(now))
	}
}

// under is the entry as far as it counts under a policy.
func (v *entryView) under(p *policyView) *entryView {
	if v == nil || v.record.Generation == p.record.Generation {
		return v
	}
	return &entryView{record: v.record.of(p.record.Generation), entry: &Entry{Kind: v.entry.Kind}}
}

// terms are those of the i-th limit of the policy for this entry. Overrides of a limit that the policy no longer has in the
// entry's scope have no effect; those that no longer fit it are clamped.
func (v *entryView) terms(p *policyView, i int) *Terms {
	if v == nil || len(v.record.Tracks) == 0 {
		return p.terms[i]
	}
	laid := v.laid.Load()
	if laid == nil || laid.policy != p {
		laid = &laidOver{p, make([]*Terms, len(p.terms))}
		for i, l := range p.policy.Limits {
			laid.terms[i] = v.layOver(p, l)
		}
		v.laid.Store(laid)
	}
	if t := laid.terms[i]; t != nil {
		return t
	}
	return p.terms[i]
}

func (v *entryView) layOver(p *policyView, l *Limit) *Terms {
	track, ever := v.record.Tracks[l.Name]
	if !ever {
		return nil
	}
	suffix, misfit, over := "", "", v.overriding(l.Name, l.Scope)
	if o := v.entry.override(l.Name); o != nil && over != nil {
		var overridden *Limit
		if overridden, misfit = o.apply(l); overridden.Calendar.Period != l.Calendar.Period {
			suffix = "." + strconv.FormatInt(track.Born, 10)
		}
		l = overridden
	}
	t := p.newTerms(l, suffix+v.resetSuffix(l.Name), over)
	t.Misfit = misfit
	return t
}

// resetSuffix is what the names of a limit's counters end with since its usage was forgotten.
func (v *entryView) resetSuffix(limit string) string {
	if v == nil || v.record.Tracks[limit].Reset == 0 {
		return ""
	}
	return "~" + strconv.FormatInt(v.record.Tracks[limit].Reset, 10)
}

// overriding is the track of what the entry overrides, or ever did, of a limit; nil if it never did.
func (v *entryView) overriding(limit string, of Scope) *Track {
	if v == nil || string(of) != string(v.entry.Kind) {
		return nil
	}
	if t := v.record.Tracks[limit]; len(t.Changes) > 0 {
		return &t
	}
	return nil
}
