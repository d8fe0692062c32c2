package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// plan is what brings a permitd in line with a file, in the order in which it is to be done.
type plan struct {
	changes []*change
	kept    []string // what permitd has and the file has not
}

// planner makes the plan of one provider.
type planner struct {
	*remote
	*plan
	docs     limiter.ProviderDocs // wanted
	policy   *state               // stored
	stored   *limiter.Policy      // nil when there is none
	entries  []*entryPlan         // of the file, those that are to be written
	mistakes []error
}

// entryPlan is an entry that is stored otherwise than it is wanted.
type entryPlan struct {
	limiter.EntryDoc
	state   *state
	before  string // the stored document; "" when there is none
	enabled bool   // it is stored and not disabled
}

// newPlan compares a file with what permitd has. It writes nothing.
func (r *remote) newPlan(ctx context.Context, f *policyfile.File) (*plan, error) {
	p := &plan{}
	if err := r.planOthers(ctx, p, f); err != nil {
		return nil, err
	}
	var mistakes []error
	for _, docs := range f.Providers {
		one := &planner{remote: r, plan: p, docs: docs}
		if err := one.read(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", docs.Provider, err)
		}
		one.order(ctx)
		mistakes = append(mistakes, one.mistakes...)
	}
	return p, errors.Join(mistakes...)
}

// planOthers names the providers that are not in the file.
func (r *remote) planOthers(ctx context.Context, p *plan, f *policyfile.File) error {
	return r.each(ctx, "/v1/providers", policyPage, func(d document) error {
		if !slices.ContainsFunc(f.Providers, func(docs limiter.ProviderDocs) bool { return docs.Provider == d.Name }) {
			p.kept = append(p.kept, clean(d.Name)+" is not in the file and stays as it is")
		}
		return nil
	})
}

// read finds out what is stored.
func (p *planner) read(ctx context.Context) error {
	d, err := p.remote.read(ctx, providerPath(p.docs.Provider))
	if err != nil {
		return err
	}
	p.policy = stateOf(d)
	if p.policy.absent {
		for _, e := range p.docs.Entries {
			p.entries = append(p.entries, &entryPlan{EntryDoc: e, state: stateOf(document{})})
		}
		return nil
	}
	if p.stored, err = limiter.ParsePolicy(d.Policy); err != nil {
		return fmt.Errorf("can't read the policy that is stored: use a permitd of the version that runs there: %w", err)
	}
	for _, kind := range []limiter.EntryKind{limiter.PoolEntry, limiter.KeyEntry} {
		if err := p.readEntries(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// readEntries compares the entries of one kind. Where the file has none, there may be a million: they are not counted.
func (p *planner) readEntries(ctx context.Context, kind limiter.EntryKind) error {
	wanted := map[string]*entryPlan{}
	for _, e := range p.docs.Entries {
		if e.Entry.Kind == kind {
			wanted[e.Name] = &entryPlan{EntryDoc: e, state: stateOf(document{})}
		}
	}
	others, more := 0, false
	look := func(d document) error {
		if e := wanted[d.ID]; e != nil {
			p.compare(e, d)
		} else if d.RotatedTo == "" {
			others++
		}
		return nil
	}
	path := listPath(p.docs.Provider, kind)
	if len(wanted) > 0 {
		if err := p.each(ctx, path, entryPage, look); err != nil {
			return err
		}
	} else {
		items, next, err := p.page(ctx, path, "", entryPage)
		if err != nil {
			return err
		}
		for _, d := range items {
			look(d)
		}
		more = next != ""
	}
	if others > 0 {
		p.kept = append(p.kept, p.docs.Provider+": "+notInFile(others, more, string(kind)))
	}
	for _, e := range p.docs.Entries {
		if e.Entry.Kind == kind && !sameJSON([]byte(wanted[e.Name].before), e.Entry.Body()) {
			p.entries = append(p.entries, wanted[e.Name])
		}
	}
	return nil
}

func notInFile(n int, more bool, what string) string {
	switch {
	case more:
		return fmt.Sprintf("at least %d %ss are not in the file and stay as they are", n, what)
	case n == 1:
		return fmt.Sprintf("1 %s is not in the file and stays as it is", what)
	}
	return fmt.Sprintf("%d %ss are not in the file and stay as they are", n, what)
}

// compare notes what is stored of an entry.
func (p *planner) compare(e *entryPlan, d document) {
	var now struct{ Disabled bool }
	json.Unmarshal(d.Entry, &now)
	e.before, e.enabled = string(d.Entry), !now.Disabled
	e.state = &state{} // a list has no tags
	if d.RotatedTo != "" && !sameJSON(d.Entry, e.Entry.Body()) {
		p.mistakes = append(p.mistakes, fmt.Errorf("%s: key %s was rotated to %s and shares its entry: name that one in the file instead, and take this one out",
			p.docs.Provider, e.Name, clean(d.RotatedTo)))
	}
}
