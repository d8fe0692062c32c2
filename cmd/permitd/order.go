package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// order puts the writes of a provider in an order in which no key is admitted in between that neither what was stored nor
// the file admits:
//
//  1. what is to be disabled;
//  2. the policy, but for unknown_keys where that changes and entries of keys follow (for a new provider: deny);
//  3. pools, before the keys that join them;
//  4. keys;
//  5. pools that are to be enabled again, when the keys that leave them have left;
//  6. unknown_keys.
func (p *planner) order(ctx context.Context) {
	for _, e := range p.entries {
		if p.stored != nil && e.Entry.Disabled && (e.enabled || e.before == "") {
			p.disable(e)
		}
	}
	p.firstPolicy(ctx)
	for _, kind := range []limiter.EntryKind{limiter.PoolEntry, limiter.KeyEntry} {
		for _, e := range p.entries {
			if e.Entry.Kind == kind && !e.reopens() {
				p.entry(e, e.Entry.Body(), "")
			}
		}
	}
	for _, e := range p.entries {
		if e.reopens() {
			p.entry(e, e.Entry.Body(), "")
		}
	}
	p.lastPolicy(ctx)
}

// reopens reports whether an entry is that of a pool that is to be enabled again.
func (e *entryPlan) reopens() bool {
	return e.Entry.Kind == limiter.PoolEntry && e.before != "" && !e.enabled && !e.Entry.Disabled
}

// disable disables an entry while the old policy holds, whose limits may be others than those that it overrides.
func (p *planner) disable(e *entryPlan) {
	doc := e.Entry.Body()
	if _, err := limiter.ParseEntry(e.Entry.Kind, doc, p.stored); err != nil {
		doc = patched(doc, `{"limits":null}`)
	}
	p.entry(e, doc, ", disabled")
}

// entry adds the write of an entry, unless it was written whole before.
func (p *planner) entry(e *entryPlan, doc []byte, remark string) {
	if sameJSON([]byte(e.before), doc) {
		return
	}
	p.changes = append(p.changes, &change{
		provider: p.docs.Provider,
		what:     string(e.Entry.Kind) + " " + e.Name,
		path:     entryPath(p.docs.Provider, e.Entry.Kind, e.Name),
		doc:      doc,
		state:    e.state,
		creates:  e.before == "",
		remark:   remark,
	})
	e.before = string(doc)
}

// writesKeys reports whether entries of keys are to be written.
func (p *planner) writesKeys() bool {
	return slices.ContainsFunc(p.entries, func(e *entryPlan) bool { return e.Entry.Kind == limiter.KeyEntry })
}

// firstPolicy adds the write of the policy that comes before the entries.
func (p *planner) firstPolicy(ctx context.Context) {
	doc, remark := p.docs.Policy.Body(), ""
	denied := p.stored == nil || p.stored.DenyUnknown
	if denied != p.docs.Policy.DenyUnknown && p.writesKeys() {
		as, shown := `"deny"`, "deny"
		if p.stored != nil {
			as = unknownKeys(p.stored.Body())
		}
		if !denied {
			shown = "allow"
		}
		doc = patched(doc, `{"unknown_keys":`+as+`}`)
		remark = ", unknown_keys: " + shown + " until its keys are written"
	}
	p.writePolicy(ctx, doc, remark)
}

// lastPolicy adds what is left of the policy when all entries are written.
func (p *planner) lastPolicy(ctx context.Context) { p.writePolicy(ctx, p.docs.Policy.Body(), "") }

func (p *planner) writePolicy(ctx context.Context, doc []byte, remark string) {
	if p.stored != nil && sameJSON(p.stored.Body(), doc) {
		return
	}
	wanted, err := limiter.ParsePolicy(doc)
	if err != nil {
		panic(fmt.Errorf("a checked policy is no longer good: %w", err))
	}
	p.changes = append(p.changes, &change{
		provider: p.docs.Provider,
		what:     "policy",
		path:     providerPath(p.docs.Provider),
		doc:      doc,
		state:    p.policy,
		creates:  p.stored == nil,
		restarts: restarts(ctx, p.stored, wanted),
		remark:   remark,
	})
	p.stored = wanted
}

// unknownKeys is how a policy has that member, null when it has not.
func unknownKeys(policy []byte) string {
	doc := struct {
		UnknownKeys json.RawMessage `json:"unknown_keys"`
	}{json.RawMessage("null")}
	json.Unmarshal(policy, &doc)
	return string(doc.UnknownKeys)
}

// patched is a document with a merge patch applied.
func patched(doc []byte, patch string) []byte {
	merged, err := jsonpatch.MergePatch(doc, []byte(patch))
	if err != nil {
		panic(fmt.Errorf("a checked document can't be patched: %w", err))
	}
	return merged
}

// restarts are the limits whose counters start afresh when one policy takes the place of another. It is tried out in
// memory.
func restarts(ctx context.Context, before, after *limiter.Policy) []string {
	if before == nil {
		return nil
	}
	c := limiter.New(memstore.New(memstore.Options{}))
	if _, err := c.PutPolicy(ctx, "tried", before, limiter.Edit{}); err != nil {
		return nil // interrupted
	}
	w, _ := c.PutPolicy(ctx, "tried", after, limiter.Edit{})
	return w.Restarted
}
