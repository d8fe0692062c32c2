package limiter

import (
	"cmp"
	"context"
	"errors"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// Edit is the condition of a write, and who makes it and why. The zero Edit has no condition: the write is made on top of
// whatever is stored, and no other is lost.
type Edit struct {
	Tag    string // only if the document has this tag
	Absent bool   // only if there is no document
	By     string // who: goes into the history
	Note   string // why: goes into the history
}

// holds reports whether the write may be made on top of r.
func (e Edit) holds(r Record) bool {
	return (e.Tag == "" || e.Tag == r.Tag && !r.deleted()) && (!e.Absent || r.deleted())
}

// WrittenPolicy is a policy as it was written.
type WrittenPolicy struct {
	PolicyDoc
	Created   bool     // there was none
	Restarted []string // limits whose counters start afresh, because the edit changed what they count
	// Misfits are limits that overrides no longer fit, which are clamped or without effect since the edit. Of many entries only
	// the first pools and keys are looked at.
	Misfits []string
}

// PutPolicy creates or replaces the policy of a provider. When it returns, no instance grants under the one before. Units
// used stay used, but for limits that are restarted.
//
// Errors of all writes: [ErrInvalid], a [*ConflictError] when the condition of the edit does not hold, [ErrUnknownProvider],
// and [ErrStoreUnavailable], after which the write may have been made or not.
func (c *Coordinator) PutPolicy(ctx context.Context, provider string, p *Policy, e Edit) (WrittenPolicy, error) {
	return c.writePolicy(ctx, provider, e, func(Record) (*Policy, error) { return p, nil })
}

// PatchPolicy applies a JSON merge patch (RFC 7396) to the policy in force, whichever that is.
func (c *Coordinator) PatchPolicy(ctx context.Context, provider string, patch []byte, e Edit) (WrittenPolicy, error) {
	if err := checkPatch(patch); err != nil {
		return WrittenPolicy{}, err
	}
	return c.writePolicy(ctx, provider, e, func(r Record) (*Policy, error) {
		if r.deleted() {
			return nil, unknownProvider(provider)
		}
		doc, err := mergePatch(r.Body, patch)
		if err != nil {
			return nil, err
		}
		p, err := ParsePolicy(doc)
		return p, misnamed(r.Body, patch, err)
	})
}

// DeletePolicy deletes a provider: its policy and its entries. Its counters never come back, and its numbering goes on if it
// is created again.
func (c *Coordinator) DeletePolicy(ctx context.Context, provider string, e Edit) error {
	revision := int64(0)
	_, err := c.swap(ctx, provider, e, func(r Record) (Record, error) {
		if revision = r.Revision; r.deleted() {
			return Record{}, unknownProvider(provider)
		}
		return r.successor(), nil
	})
	if err != nil && (!errors.Is(err, ErrUnknownProvider) || revision == 0) {
		return err
	}
	c.policies.Delete(provider)
	return cmp.Or(c.store.Clear(ctx, provider, revision), err) // also what an earlier deletion did not get to
}

// writePolicy writes what next makes of the policy in force.
func (c *Coordinator) writePolicy(ctx context.Context, provider string, e Edit, next func(Record) (*Policy, error)) (w WrittenPolicy, err error) {
	if !ValidName(provider) {
		return w, &InvalidError{[]Fault{{"", "a provider's name must match " + namePattern}}}
	}
	var before Record
	r, err := c.swap(ctx, provider, e, func(r Record) (Record, error) {
		before = r
		p, err := next(r)
		if err != nil {
			return Record{}, err
		}
		record, restarted := r.nextPolicy(p)
		w.Created, w.Restarted = r.deleted(), restarted
		return record, nil
	})
	if err != nil {
		return WrittenPolicy{}, err
	}
	v, err := c.adoptPolicy(ctx, provider, r)
	if err == nil && v.record.Tag != r.Tag { // somebody has written since
		v, err = newPolicyView(provider, r)
	}
	if err != nil {
		return WrittenPolicy{}, err
	}
	w.PolicyDoc, w.Misfits = v.doc(provider), c.misfits(ctx, before, v, provider)
	return w, nil
}

// swap writes what next makes of the policy of a provider, again and again until nobody else wrote in between.
func (c *Coordinator) swap(ctx context.Context, provider string, e Edit, next func(Record) (Record, error)) (Record, error) {
	id := DocID{Provider: provider}
	r, err := c.store.Load(ctx, id)
	if err == nil {
		r, err = c.keptPolicy(ctx, provider, r)
	}
	for err == nil {
		if !e.holds(r) {
			return Record{}, conflict(r)
		}
		var stored, wanted Record
		if wanted, err = next(r); err != nil {
			return Record{}, err
		}
		if stored, err = c.store.Swap(ctx, id, r.Tag, e.sign(wanted)); err == nil {
			return stored, nil
		}
		if errors.Is(err, ErrConflict) {
			r, err = stored, nil
		}
	}
	return Record{}, err
}

// sign puts into a record who writes it and why.
func (e Edit) sign(r Record) Record {
	r.By, r.Note = e.By, strings.TrimSuffix(r.Note+e.Note, ": ")
	return r
}

// conflict is that a write was not made for the record that is stored.
func conflict(r Record) error {
	if r.deleted() {
		return &ConflictError{}
	}
	return &ConflictError{r.Revision}
}

// checkPatch finds what would be lost in a patch: text that is not JSON, and members that are there twice.
func checkPatch(patch []byte) error {
	var f faults
	parseTree(patch, &f)
	return f.err()
}

// mergePatch is a document with a checked patch applied.
func mergePatch(doc, patch []byte) ([]byte, error) {
	merged, err := jsonpatch.MergePatch(doc, patch)
	if err != nil {
		return nil, &InvalidError{[]Fault{{"", "must be a merge patch: a JSON object with the members to be changed, null for those to be removed"}}}
	}
	return merged, nil
}
