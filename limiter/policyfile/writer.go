package policyfile

import (
	"bytes"
	"errors"
	"io"
	"regexp"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/permitd/permitd/limiter"
)

// Writer writes a policy file piece by piece, so that a provider may have more entries than memory has room for. What is
// written reads as the very documents that were given, members in their order and only escapes in strings undone.
//
// Call Provider for each, Entry for its entries, pools before keys, and Close at the end. The first error stays, and
// ends all.
type Writer struct {
	w       io.Writer
	size    int64
	begun   bool   // a provider was written
	entries string // the member of the provider that entries go to: "" before the first, pools or keys
	err     error
}

// NewWriter is a writer of a file to w, which it does not close.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Size is how many bytes were written. More than [MaxSize] is more than [Load] reads.
func (w *Writer) Size() int64 { return w.size }

// How deep in a file things are.
const (
	providerDepth = 1
	membersDepth  = 2
	entryDepth    = 3
)

// Provider begins the next provider, with its policy.
func (w *Writer) Provider(name string, p *limiter.Policy) error {
	if !w.begun {
		w.piece(0, heading("providers"))
	}
	w.begun, w.entries = true, ""
	policy := w.node(p.Body())
	if policy == nil {
		return w.err
	}
	policy.Style = 0
	if limits, _ := child(policy, "limits"); limits != nil {
		limits.Style = 0 // and each limit on a line of its own
	}
	return w.piece(providerDepth, mapping(name, policy))
}

// Entry writes an entry of a pool or a key of the provider that was begun last.
func (w *Writer) Entry(name string, e *limiter.Entry) error {
	member := "pools"
	if e.Kind == limiter.KeyEntry {
		member = "keys"
	}
	if member != w.entries {
		if w.entries == "keys" {
			w.err = errors.New("write a policy file: pools go before keys")
		}
		w.entries = member
		w.piece(membersDepth, heading(member))
	}
	entry := w.node(e.Body())
	if entry == nil {
		return w.err
	}
	return w.piece(entryDepth, mapping(name, entry))
}

// Close ends the file.
func (w *Writer) Close() error {
	if !w.begun {
		return w.piece(0, mapping("providers", &yaml.Node{Kind: yaml.MappingNode}))
	}
	return w.err
}

// piece writes one member of what was begun depth levels up. Nothing in it goes over several lines but mappings, so that
// it may be indented.
func (w *Writer) piece(depth int, n *yaml.Node) error {
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(indent)
	err := errors.Join(enc.Encode(n), enc.Close())
	if w.err != nil || err != nil {
		w.err = errors.Join(w.err, err)
		return w.err
	}
	var out []byte
	for line := range bytes.Lines(text.Bytes()) {
		out = append(out, bytes.Repeat([]byte(" "), depth*indent)...)
		out = append(out, line...)
	}
	_, w.err = w.w.Write(out)
	w.size += int64(len(out))
	return w.err
}

const indent = 2

// heading is a member whose value follows piece by piece.
func heading(name string) *yaml.Node {
	return mapping(name, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"})
}

// mapping has one member.
func mapping(name string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(name), value}}
}

// node is a JSON document in YAML, or nil.
func (w *Writer) node(doc []byte) *yaml.Node {
	if w.err != nil {
		return nil
	}
	var n *yaml.Node
	n, w.err = readJSON(jsontext.NewDecoder(bytes.NewReader(doc)))
	return n
}

// readJSON reads one value. Objects and arrays go on one line.
func readJSON(dec *jsontext.Decoder) (*yaml.Node, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '"':
		return textNode(token.String()), nil
	case '0', 'n', 't', 'f':
		return &yaml.Node{Kind: yaml.ScalarNode, Value: token.String()}, nil
	}
	n, end := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}, jsontext.Kind(']')
	if token.Kind() == '{' {
		n.Kind, end = yaml.MappingNode, '}'
	}
	for dec.PeekKind() != end { // names and values in turn
		item, err := readJSON(dec)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, item)
	}
	_, err = dec.ReadToken()
	return n, err
}

var (
	// plainText needs no quotes, whichever YAML reads it; neither do durations, though they begin with a digit.
	plainText = regexp.MustCompile(`^([A-Za-z]([A-Za-z0-9 ._/-]*[A-Za-z0-9._/-])?|([0-9]+(us|ms|s|m|h|d))+)$`)
	// otherThanText is what some YAML takes for something else.
	otherThanText = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null|nan|inf)$`)
)

// textNode is a string.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
	if plainText.MatchString(s) && !otherThanText.MatchString(s) {
		n.Style = 0
	}
	return n
}
