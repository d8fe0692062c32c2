package policyfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/permitd/permitd/limiter"
)

// parser goes through one file and collects all that is wrong with it.
type parser struct {
	file      string
	providers []limiter.ProviderDocs
	faults    []Problem
	warnings  []Problem
	budget    int // bytes of JSON that may still be written: what bounds aliases of aliases
	exhausted bool
}

// place says of what in a file a problem is told.
type place struct{ provider, pointer string }

// below is the place that a JSON pointer names from here.
func (at place) below(pointer string) place { return place{at.provider, at.pointer + pointer} }

func (at place) String() string {
	var s string
	for _, part := range []string{at.provider, at.pointer} {
		if part != "" {
			s += part + ": "
		}
	}
	return s
}

// pointer appends a member's name to a JSON pointer.
func pointer(base, name string) string { return base + "/" + escape.Replace(name) }

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func (p *parser) fault(line int, at place, format string, args ...any) {
	p.faults = append(p.faults, Problem{p.file, line, at.String() + fmt.Sprintf(format, args...)})
}

// spend takes n bytes off the budget.
func (p *parser) spend(n, line int) {
	if p.budget -= n; p.budget < 0 && !p.exhausted {
		p.exhausted = true
		p.fault(line, place{}, "the aliases (*name) of this file expand to too much: write the parts out")
	}
}

// root reads the whole file.
func (p *parser) root(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		p.fault(1, place{}, "the file is empty: it must hold providers")
		return
	}
	if !p.mapping(n, n.Line, place{}, "providers") {
		return
	}
	list, whole := p.members(n, place{})
	found := false
	for _, m := range list {
		if m.name != "providers" {
			p.fault(m.line, place{}, "unknown member %q; known here: providers", m.name)
			continue
		}
		found = true
		if p.mapping(m.value, m.line, allProviders, "names to policies") {
			p.policies(m.value)
		}
	}
	if !found && whole {
		p.fault(n.Line, place{}, "providers is missing")
	}
}

var allProviders = place{provider: "providers"}

func (p *parser) policies(n *yaml.Node) {
	list, _ := p.members(n, allProviders)
	for _, m := range list {
		if p.exhausted {
			return
		}
		if !limiter.ValidName(m.name) {
			p.fault(m.line, allProviders, "%q can't name a provider: must match %s", m.name, namePattern)
		}
		if p.mapping(m.value, m.line, place{provider: m.name},
			"on_store_failure, hold_ttl, unknown_keys, unknown_models, unknown_units, limits, pools and keys") {
			p.provider(m)
		}
	}
}

const namePattern = "[a-z0-9][a-z0-9._-]{0,63}"

// provider reads one provider: its pools and keys aside, then the policy, then the entries against the policy.
func (p *parser) provider(m member) {
	at := place{provider: m.name}
	doc, lifted := p.lift(m.value, at)
	body := p.convert(doc, m.line, at)
	policy, err := limiter.ParsePolicy(body.out)
	p.report(body, doc, m.line, err, nil)
	docs := limiter.ProviderDocs{Provider: m.name, Policy: policy}
	for _, l := range lifted {
		docs.Entries = append(docs.Entries, p.entries(at, l, policy, doc)...)
	}
	slices.SortFunc(docs.Entries, func(a, b limiter.EntryDoc) int {
		return cmp.Or(
			-strings.Compare(string(a.Entry.Kind), string(b.Entry.Kind)), // pools first
			strings.Compare(a.Name, b.Name))
	})
	if policy != nil {
		p.warnAbout(m.name, policy, doc, m.line)
	}
	p.providers = append(p.providers, docs)
}

// lift splits what is written of a provider into the policy and the members pools and keys.
func (p *parser) lift(n *yaml.Node, at place) (policy *yaml.Node, lifted []member) {
	rest := *n
	rest.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := deref(n.Content[i])
		if name.Kind != yaml.ScalarNode || name.Value != "pools" && name.Value != "keys" {
			rest.Content = append(rest.Content, n.Content[i], n.Content[i+1])
			continue
		}
		m := member{name.Value, n.Content[i].Line, deref(n.Content[i+1])}
		if before := slices.IndexFunc(lifted, func(l member) bool { return l.name == m.name }); before >= 0 {
			p.fault(m.line, at, "the same name is given twice: on line %d and here", lifted[before].line)
			continue
		}
		lifted = append(lifted, m)
	}
	return &rest, lifted
}

// entries reads the pools or keys of a provider. policy is nil when it is faulty; then doc, what is written of it, tells
// at least which limits there are meant to be.
func (p *parser) entries(at place, l member, policy *limiter.Policy, doc *yaml.Node) []limiter.EntryDoc {
	at = at.below("/" + l.name)
	kind, of := limiter.PoolEntry, "names to entries"
	if l.name == "keys" {
		kind, of = limiter.KeyEntry, "key ids to entries"
	}
	if !p.mapping(l.value, l.line, at, of) {
		return nil
	}
	list, _ := p.members(l.value, at)
	docs := make([]limiter.EntryDoc, 0, len(list))
	for _, m := range list {
		if p.exhausted {
			break
		}
		shown := p.checkName(kind, m, at)
		body := p.convert(m.value, m.line, at.below(pointer("", shown)))
		var entry *limiter.Entry
		var err error
		if policy != nil {
			entry, err = limiter.ParseEntry(kind, body.out, policy)
			p.report(body, m.value, m.line, err, nil)
		} else {
			entry, err = limiter.ParseEntry(kind, body.out, &limiter.Policy{})
			p.report(body, m.value, m.line, err, doc)
		}
		if err == nil {
			docs = append(docs, limiter.EntryDoc{Name: m.name, Entry: entry})
		}
	}
	return docs
}

// checkName checks the name of an entry, and returns it as problems may show it: what is no key id may be a key.
func (p *parser) checkName(kind limiter.EntryKind, m member, at place) string {
	switch {
	case kind == limiter.KeyEntry && !limiter.ValidKeyID(m.name):
		p.fault(m.line, at, "the name here is not a key id (k_ and 32 lower-case hex digits); turn a key into its id with `permitd key-id`")
		return "(not a key id)"
	case kind == limiter.PoolEntry && !limiter.ValidName(m.name):
		p.fault(m.line, at, "%q can't name a pool: must match %s", m.name, namePattern)
	}
	return m.name
}

// convert turns a node into JSON for limiter to read.
func (p *parser) convert(n *yaml.Node, line int, at place) *document {
	d := &document{p: p, place: at, broken: map[string]bool{}}
	d.value(n, line, "", 0)
	return d
}

// report records what limiter says of a document. doubtful is the policy when that is faulty: whether an override suits
// a limit that it names is not known then.
func (p *parser) report(d *document, n *yaml.Node, line int, err error, doubtful *yaml.Node) {
	var invalid *limiter.InvalidError
	switch {
	case err == nil || p.exhausted:
		return
	case !errors.As(err, &invalid):
		p.fault(line, d.place, "%v", err)
		return
	}
	for _, f := range invalid.Faults {
		if d.broken[f.Pointer] || doubtful != nil && overrides(n, f.Pointer, doubtful) {
			continue
		}
		p.fault(locate(n, line, f.Pointer), d.place.below(f.Pointer), "%s", f.Detail)
	}
}

// overrides reports whether a pointer into an entry names its override of a limit that a policy may have.
func overrides(entry *yaml.Node, at string, policy *yaml.Node) bool {
	name, ok := strings.CutPrefix(at, "/limits/")
	if !ok || strings.Contains(name, "/") {
		return false
	}
	name = unescape.Replace(name)
	if kindOf(entry, "limits", name) != yaml.MappingNode {
		return false // whatever the policy says, this is no override
	}
	return kindOf(policy, "limits") != yaml.MappingNode || kindOf(policy, "limits", name) != 0
}
