package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// compress divides a duration of a policy by the speed, to whole microseconds.
func compress(d time.Duration, speed float64) time.Duration {
	return time.Duration(math.Round(float64(d)/speed/1000)) * time.Microsecond
}

// ownLimit is a limit of the built-in policy.
type ownLimit struct {
	name, scope string
	amount      int64
	per         time.Duration
	burst       int64
	strict      bool
	slack       time.Duration // of a strict window
}

func (l ownLimit) String() string {
	text := fmt.Sprintf("%s: {scope: %s, kind: rate, unit: tokens, amount: %d, per: %s, burst: %d", l.name, l.scope, l.amount, l.per, l.burst)
	if l.strict {
		text += fmt.Sprintf(", strict_window: true, slack: %s", l.slack)
	}
	return text + "}"
}

// sustained is the limit as a rate that keeps it.
func (l ownLimit) sustained() rateLimit {
	if l.strict {
		return rateLimit{l.name, l.amount - l.burst, l.per + l.slack, l.burst}
	}
	return rateLimit{l.name, l.amount, l.per, l.burst}
}

// ownPolicy is the text of a provider in the policy file that suits the mock providers: its limits, and the pools of keys by
// key id.
func ownPolicy(provider string, limits []ownLimit, pools map[string]string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "  %s:\n    limits:\n", provider)
	for _, l := range limits {
		fmt.Fprintf(&text, "      %s\n", l)
	}
	if len(pools) > 0 {
		text.WriteString(keysOfPolicy)
	}
	for _, id := range slices.Sorted(maps.Keys(pools)) {
		fmt.Fprintf(&text, "      %s: {pool: %s}\n", id, pools[id])
	}
	return text.String()
}

const keysOfPolicy = "    keys:\n"

// compressPolicies is the text of a policy file in which every per, and slack, of a rate is divided by the speed.
// Quotas keep their calendar.
func compressPolicies(file *policyfile.File, speed float64) (string, error) {
	c := compressor{speed: speed}
	providers := &yaml.Node{Kind: yaml.MappingNode}
	for _, docs := range file.Providers {
		doc := c.document(docs.Policy.Body())
		each(doc, "limits", func(_ string, limit *yaml.Node) { c.limit(limit) })
		for _, kind := range []limiter.EntryKind{limiter.PoolEntry, limiter.KeyEntry} {
			entries := &yaml.Node{Kind: yaml.MappingNode}
			for _, e := range docs.Entries {
				if e.Entry.Kind == kind {
					entry := c.document(e.Entry.Body())
					each(entry, "limits", func(_ string, override *yaml.Node) { c.limit(override) })
					add(entries, e.Name, entry)
				}
			}
			if len(entries.Content) > 0 {
				add(doc, string(kind)+"s", entries)
			}
		}
		add(providers, docs.Provider, doc)
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	add(root, "providers", providers)
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if c.err == nil {
		c.err = enc.Encode(root)
	}
	return text.String(), c.err
}

// compressor rewrites documents, and keeps the first error.
type compressor struct {
	speed float64
	err   error
}

// document reads a document that was checked before; JSON is YAML.
func (c *compressor) document(body []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal(body, &doc); err != nil || len(doc.Content) == 0 {
		c.err = fmt.Errorf("read a policy again: %w", err)
		return &yaml.Node{Kind: yaml.MappingNode}
	}
	plain(doc.Content[0], 0)
	return doc.Content[0]
}

// plain drops the JSON style: only what is innermost stays on one line.
func plain(n *yaml.Node, depth int) {
	n.Style = 0
	if depth >= 2 && n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		plain(c, depth+1)
	}
}

// limit compresses a limit, or what an override says of one.
func (c *compressor) limit(n *yaml.Node) {
	for _, name := range []string{"per", "slack"} {
		each(n, "", func(member string, v *yaml.Node) {
			d, err := limiter.ParseDuration(v.Value)
			if member != name || err != nil { // the per of a quota is no duration
				return
			}
			if d > 0 && name == "per" && compress(d, c.speed) < limiter.MinPer && c.err == nil {
				c.err = fmt.Errorf("per %s divided by the speed %g is less than %s: replay slower", v.Value, c.speed, limiter.MinPer)
			}
			v.Value = limiter.FormatDuration(compress(d, c.speed))
		})
	}
}

// each calls f for the members of the named member of a mapping, or of the mapping itself.
func each(n *yaml.Node, name string, f func(name string, value *yaml.Node)) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case name == "":
			f(k.Value, v)
		case k.Value == name:
			each(v, "", f)
		}
	}
}

func add(mapping *yaml.Node, name string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, value)
}
