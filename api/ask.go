package api

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter"
)

// The members of an ask. Those of settling and extending a permit are among them.
const (
	memberProvider = iota
	memberKey
	memberKeyID
	memberModel
	memberCost
	memberDryRun
	memberHold
	memberTTL
	memberIdempotencyKey
	memberCount
)

var memberNames = [memberCount]string{
	"provider", "key", "key_id", "model", "cost", "dry_run", "hold", "ttl_ms", "idempotency_key",
}

// memberSet has a bit for each member that a body may have.
type memberSet uint16

const (
	elementMembers memberSet = 1<<memberCount - 1 // of a batch
	askMembers     memberSet = elementMembers &^ (1 << memberIdempotencyKey)
	settleMembers  memberSet = 1 << memberCost
	extendMembers  memberSet = 1 << memberTTL
	cancelMembers  memberSet = 0
)

func (s memberSet) has(m int) bool { return s>>m&1 == 1 }

// String lists them.
func (s memberSet) String() string {
	var names []string
	for m, name := range memberNames {
		if s.has(m) {
			names = append(names, name)
		}
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

const (
	// maxFaults bounds how much an answer can be larger than the ask.
	maxFaults = 64
	// maxTTL is the longest time that a hold can ever be given, in milliseconds.
	maxTTL = int64(limiter.MaxHoldTTL / time.Millisecond)
)

// askReader reads one ask, or some of its members, strictly: what it does not know, or can't do, it refuses rather than
// ignore. A member that is null counts as absent, so that one which has to be there is missing. The reader goes on after
// a fault, so that one answer names them all.
type askReader struct {
	*body
	ask     *limiter.Ask
	known   memberSet
	preview bool             // an idempotency key has no use
	missing limiter.Fault    // what is wrong where none of them is given; none: that is for the ask's own rules
	count   int              // members so far
	seen    memberSet        // the known ones among them, also those that are null
	places  [memberCount]int // where each known member is among them, from 1; 0: absent, or null, which is the same
	faults  []placedFault
}

// placedFault is a fault and the member of the ask that it is in, so that faults can be put in the document's order.
type placedFault struct {
	limiter.Fault
	place int
}

// readWhole reads a body that is what r reads and nothing else.
func (b *body) readWhole(r *askReader) error {
	faults, err := r.read(b)
	if err == nil {
		err = b.end()
	}
	if err != nil {
		faults = append(faults, malformed(err))
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// read reads the ask that comes next. It returns what is wrong with it, in the order of the document; an error means that
// the text is not JSON. An ask without faults still has to pass [limiter.Ask.Validate], which the coordinator sees to.
func (r *askReader) read(b *body) ([]limiter.Fault, error) {
	r.body = b
	if kind := r.dec.PeekKind(); kind != '{' {
		if err := r.dec.SkipValue(); err != nil {
			return nil, err
		}
		return []limiter.Fault{{Detail: "must be an object, not " + kindName(kind)}}, nil
	}
	if err := r.members(r.member); err != nil {
		return r.sorted(), err
	}
	if r.missing.Pointer != "" && r.places == [memberCount]int{} {
		r.add(r.missing, r.count+1)
	}
	if len(r.faults) == 0 {
		return nil, nil
	}
	r.validate()
	return r.sorted(), nil
}

func (r *askReader) member(name []byte) error {
	r.count++
	m := slices.IndexFunc(memberNames[:], func(known string) bool { return known == string(name) })
	switch {
	case m == memberIdempotencyKey && r.known == askMembers && !r.preview:
		r.fault("/"+memberNames[m], "send it as the Idempotency-Key header; only the elements of a batch have it as a member")
		return r.dec.SkipValue()
	case m < 0 || !r.known.has(m):
		r.fault(pointer("", name), "unknown member; known here: "+r.known.String())
		return r.dec.SkipValue()
	case r.seen.has(m):
		r.fault(pointer("", name), "is given twice")
		return r.dec.SkipValue()
	}
	r.seen |= 1 << m
	if r.dec.PeekKind() == 'n' {
		return r.dec.SkipValue()
	}
	r.places[m] = r.count
	if m == memberCost {
		return r.cost()
	}
	fault, err := r.value(m)
	if fault != "" {
		r.fault("/"+memberNames[m], fault)
	}
	return err
}

// value reads a member that is not an object.
func (r *askReader) value(m int) (fault string, err error) {
	switch m {
	case memberProvider:
		return r.str(&r.ask.Provider)
	case memberModel:
		return r.str(&r.ask.Model)
	case memberKey:
		fault, err = r.str(&r.ask.Key)
		if fault == "" && err == nil && r.ask.Key == "" {
			fault = fmt.Sprintf("must be 1 to %d printable characters", limiter.MaxKeyLen)
		}
	case memberKeyID:
		fault, err = r.str(&r.ask.KeyID)
		if fault == "" && err == nil && r.ask.KeyID == "" {
			fault = "must be a key id: send one, or leave it out and send key"
		}
	case memberDryRun:
		return r.boolean(&r.ask.DryRun)
	case memberHold:
		return r.boolean(&r.ask.Hold)
	case memberTTL:
		var ms int64
		fault, err = r.whole(&ms, 1, maxTTL)
		r.ask.TTL = time.Duration(ms) * time.Millisecond
	case memberIdempotencyKey:
		fault, err = r.str(&r.ask.IdempotencyKey)
		if fault == "" && err == nil && r.ask.IdempotencyKey == "" {
			fault = fmt.Sprintf("must be 1 to %d printable characters", limiter.MaxIdempotencyKeyLen)
		}
	}
	return fault, err
}

// cost reads the units that the ask names.
func (r *askReader) cost() error {
	if kind := r.dec.PeekKind(); kind != '{' {
		r.fault("/cost", "must be an object, not "+kindName(kind))
		return r.dec.SkipValue()
	}
	units := 0
	r.ask.Cost = make(limiter.Costs, 0, 2)
	err := r.members(func(name []byte) error {
		if units++; units > limiter.MaxUnitsPerAsk {
			return r.dec.SkipValue()
		}
		if slices.ContainsFunc(r.ask.Cost, func(c limiter.Cost) bool { return c.Unit == string(name) }) {
			r.fault(pointer("/cost", name), "is given twice")
			return r.dec.SkipValue()
		}
		c := limiter.Cost{Unit: string(name)}
		fault, err := r.amount(&c.Amount)
		if fault != "" {
			r.fault(pointer("/cost", []byte(c.Unit)), fault)
		}
		r.ask.Cost = append(r.ask.Cost, c)
		return err
	})
	if units > limiter.MaxUnitsPerAsk {
		r.fault("/cost", fmt.Sprintf("names %d units; at most %d are allowed", units, limiter.MaxUnitsPerAsk))
	}
	return err
}

func (r *askReader) fault(pointer, detail string) {
	r.add(limiter.Fault{Pointer: pointer, Detail: detail}, r.count)
}

func (r *askReader) add(f limiter.Fault, place int) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, placedFault{f, place})
	} else if len(r.faults) == maxFaults {
		f = limiter.Fault{Detail: fmt.Sprintf("has more faults than these %d; correct them first", maxFaults)}
		r.faults = append(r.faults, placedFault{f, r.count + 2})
	}
}

// validate adds what the ask's own rules find in what could be read, unless something is known to be wrong there already.
func (r *askReader) validate() {
	var invalid *limiter.InvalidError
	ask := *r.ask
	if !errors.As(ask.Validate(), &invalid) {
		return
	}
	found := len(r.faults)
	for _, f := range invalid.Faults {
		known := slices.ContainsFunc(r.faults[:found], func(p placedFault) bool { return p.Pointer == f.Pointer })
		asKeyID := f.Pointer == "/key" && r.places[memberKey] == 0 && r.places[memberKeyID] > 0
		name, _, _ := strings.Cut(f.Pointer[1:], "/")
		m := slices.Index(memberNames[:], name)
		if known || asKeyID || !r.known.has(m) {
			continue
		}
		place := r.places[m]
		if place == 0 {
			place = r.count + 1 // what is missing comes last
		}
		r.add(f, place)
	}
}

func (r *askReader) sorted() []limiter.Fault {
	slices.SortStableFunc(r.faults, func(a, b placedFault) int { return cmp.Compare(a.place, b.place) })
	faults := make([]limiter.Fault, len(r.faults))
	for i, f := range r.faults {
		faults[i] = f.Fault
	}
	return faults
}
