package policyfile

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep a document may be nested; limiter refuses more.
const maxDepth = 16

// document turns one YAML value into JSON, member by member in the order in which they are written. Faults that only
// YAML can have are recorded by JSON pointer.
type document struct {
	p      *parser
	place  place // of its root
	out    []byte
	broken map[string]bool // pointers of what was left out or stands for something else: what limiter says of them is noise
}

func (d *document) fault(line int, at, format string, args ...any) {
	d.p.fault(line, d.place.below(at), format, args...)
	d.broken[at] = true
}

// value appends n, which is at the pointer at.
func (d *document) value(n *yaml.Node, line int, at string, depth int) {
	switch {
	case depth == maxDepth && len(n.Content) > 0:
		d.fault(line, at, "is nested more than %d deep", maxDepth)
		d.out = append(d.out, "null"...)
	case n.Kind == yaml.MappingNode:
		d.mapping(n, line, at, depth)
	case n.Kind == yaml.SequenceNode:
		d.p.spend(2, line)
		d.out = append(d.out, '[')
		for i, item := range n.Content {
			if i > 0 {
				d.out = append(d.out, ',')
			}
			d.value(deref(item), item.Line, at+"/"+strconv.Itoa(i), depth+1)
			if d.p.exhausted {
				return
			}
		}
		d.out = append(d.out, ']')
	default:
		d.p.spend(len(n.Value)+2, line)
		d.scalar(n, line, at)
	}
}

func (d *document) mapping(n *yaml.Node, line int, at string, depth int) {
	d.p.spend(2, line)
	list, whole := d.p.members(n, d.place.below(at))
	if !whole {
		d.broken[at] = true
	}
	d.out = append(d.out, '{')
	for i, m := range list {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		d.text(m.name, m.line, at)
		d.p.spend(len(m.name), m.line)
		d.out = append(d.out, ':')
		d.value(m.value, m.line, pointer(at, m.name), depth+1)
		if d.p.exhausted {
			return
		}
	}
	d.out = append(d.out, '}')
}

func (d *document) scalar(n *yaml.Node, line int, at string) {
	switch n.ShortTag() {
	case "!!str", "!!timestamp": // what looks like a date is the text that was written
		d.text(n.Value, line, at)
	case "!!null":
		d.out = append(d.out, "null"...)
	case "!!bool":
		d.out = append(d.out, strings.ToLower(n.Value)...)
	case "!!int", "!!float":
		d.number(n.Value, line, at)
	default:
		d.fault(line, at, "the tag %s is not supported", n.ShortTag())
		d.out = append(d.out, "null"...)
	}
}

// number appends a number as written, less the underscores that YAML allows between digits. What JSON can't say is a
// fault: .inf, and 010 or 0x10, which not everyone reads alike.
func (d *document) number(text string, line int, at string) {
	plain := strings.ReplaceAll(strings.TrimPrefix(text, "+"), "_", "")
	if v := jsontext.Value(plain); !v.IsValid() || v.Kind() != '0' {
		d.fault(line, at, "must be a whole number in plain decimal digits, not %s", text)
		plain = "null"
	}
	d.out = append(d.out, plain...)
}

func (d *document) text(s string, line int, at string) {
	out, err := jsontext.AppendQuote(d.out, s)
	if err != nil {
		d.fault(line, at, "holds text that is not valid Unicode")
		out = append(d.out, `""`...)
	}
	d.out = out
}
