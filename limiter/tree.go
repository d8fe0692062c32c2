package limiter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// node is a value of a JSON document that is being checked. Its getters record a fault instead of failing, so that one
// pass finds every fault.
type node struct {
	at      string // JSON pointer
	kind    jsontext.Kind
	text    string // of a string, unquoted; of a number, as written
	members []member
	items   []*node
	faults  *faults
}

type member struct {
	name string
	node *node
	read bool
}

// maxDepth is more than any document needs.
const maxDepth = 16

// maxShownNumber is the longest number, in bytes, that is repeated in a fault.
const maxShownNumber = 32

// maxMembers is more than any object of a document may have, few enough to be looked through for each.
const maxMembers = 1000

// parseTree reads one JSON value. Malformed text is one fault, at the place where it stops making sense.
func parseTree(doc []byte, f *faults) *node {
	dec := jsontext.NewDecoder(bytes.NewReader(doc), jsontext.AllowDuplicateNames(true))
	root, err := readNode(dec, "", f, 0)
	if err == nil {
		if _, err = dec.ReadToken(); errors.Is(err, io.EOF) {
			return root
		}
		err = errors.New("more follows after the end of the document")
	}
	f.add("", "malformed JSON: %s", plainJSONError(err, dec.InputOffset()))
	return nil
}

// plainJSONError is what a JSON library says of malformed text, without the library's name.
func plainJSONError(err error, offset int64) string {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Sprintf("%v (near byte %d)", syntactic.Err, syntactic.ByteOffset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Sprintf("it ends too early (byte %d)", offset)
	}
	return err.Error()
}

func readNode(dec *jsontext.Decoder, at string, f *faults, depth int) (*node, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	n := &node{at: at, kind: tok.Kind(), faults: f}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	switch n.kind {
	case '"', '0':
		n.text = tok.String()
	case '{':
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			m := member{name: name.String()}
			if m.node, err = readNode(dec, pointer(at, m.name), f, depth+1); err != nil {
				return nil, err
			}
			if _, twice := n.find(m.name); twice {
				f.add(m.node.at, "is given twice")
				continue
			}
			if n.members = append(n.members, m); len(n.members) > maxMembers {
				return nil, fmt.Errorf("an object has more than %d members", maxMembers)
			}
		}
		_, err = dec.ReadToken()
	case '[':
		for dec.PeekKind() != ']' {
			item, err := readNode(dec, pointer(at, strconv.Itoa(len(n.items))), f, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		_, err = dec.ReadToken()
	}
	return n, err
}

func (n *node) find(name string) (int, bool) {
	for i := range n.members {
		if n.members[i].name == name {
			return i, true
		}
	}
	return 0, false
}

// fail records a fault here.
func (n *node) fail(format string, args ...any) { n.faults.add(n.at, format, args...) }

// object checks that n is an object.
func (n *node) object() bool {
	if n == nil || n.kind == '{' {
		return n != nil
	}
	n.fail("must be an object, not %s", n.kindName())
	return false
}

// take gives a member and marks it as known; nil when it is absent.
func (n *node) take(name string) *node {
	if i, ok := n.find(name); ok {
		n.members[i].read = true
		return n.members[i].node
	}
	return nil
}

// rest makes a fault of every member that was not taken.
func (n *node) rest(known string) {
	for _, m := range n.members {
		if !m.read {
			m.node.fail("unknown member; known here: %s", known)
		}
	}
}

// str reads a string. A nil node, here and below, is an absent member and leaves the default.
func (n *node) str(into *string) bool {
	if n == nil {
		return false
	}
	if n.kind != '"' {
		n.fail("must be a string, not %s", n.kindName())
		return false
	}
	*into = n.text
	return true
}

func (n *node) boolean(into *bool) {
	switch {
	case n == nil:
	case n.kind == 't' || n.kind == 'f':
		*into = n.kind == 't'
	default:
		n.fail("must be true or false, not %s", n.kindName())
	}
}

// integer reads a whole number in [low, high], however it is written: see [ParseWhole].
func (n *node) integer(into *int64, low, high int64) bool {
	if n == nil {
		return false
	}
	if n.kind != '0' {
		n.fail("must be a whole number from %d to %d, not %s", low, high, n.kindName())
		return false
	}
	v, ok := ParseWhole(n.text)
	if !ok || v < low || v > high {
		shown := n.text
		if len(shown) > maxShownNumber {
			shown = n.kindName()
		}
		n.fail("must be a whole number from %d to %d, not %s", low, high, shown)
		return false
	}
	*into = v
	return true
}

// oneOf reads a string that must be one of a few.
func oneOf[T ~string](n *node, into *T, allowed ...T) bool {
	var s string
	if !n.str(&s) {
		return false
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if s == string(a) {
			*into = a
			return true
		}
		names[i] = strconv.Quote(string(a))
	}
	n.fail("must be %s, not %q", strings.Join(names, " or "), s)
	return false
}

func (n *node) kindName() string {
	switch n.kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	}
	return "an object"
}
