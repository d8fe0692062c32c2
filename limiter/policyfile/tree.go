package policyfile

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree reads the only document of a file, or records why there is none.
func (p *parser) tree(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		p.fault(1, place{}, "the file is larger than %d MiB", MaxSize>>20)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		p.fault(1, place{}, "the file is empty: it must hold providers")
		return nil
	case err != nil:
		p.syntaxFault(data, err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		p.fault(second.Line, place{}, "a second document starts here: a policy file holds one")
	case !errors.Is(err, io.EOF):
		p.syntaxFault(data, err)
	}
	p.budget = 4*len(data) + 1<<20
	return doc.Content[0]
}

var (
	syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)
	// parserProblem are messages whose line is that where the collection begins, and counted from 0.
	parserProblem = regexp.MustCompile(`^(did not find expected (key|node content|'-' indicator|<|',' or)|found (duplicate|incompatible|undefined))`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxFault records what the YAML reader could make no sense of.
func (p *parser) syntaxFault(data []byte, err error) {
	message := err.Error()
	m := syntaxLine.FindStringSubmatch(message)
	message = message[len(m[0]):]
	line, numbered := 1, m[1] != "" // the reader names no line for the first
	if numbered {
		line, _ = strconv.Atoi(m[1])
	}
	if parserProblem.MatchString(message) {
		if numbered {
			line++
		}
		message += " (in what begins here)"
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line = bytes.Count(before, []byte("\n")) + 1
	}
	p.fault(line, place{}, "malformed YAML: %s", message)
}

// deref is the node that an alias stands for.
func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// member is a member of a mapping.
type member struct {
	name  string
	line  int // of the name
	value *yaml.Node
}

// members are those of a mapping, in order. What can't be a member is recorded as a fault and left out, and so is what is
// given twice; names are not shown, as they might be API keys. whole is false when something was left out whose name is
// not known.
func (p *parser) members(n *yaml.Node, at place) (list []member, whole bool) {
	first := make(map[string]int, len(n.Content)/2)
	whole = true
	for i := 0; i+1 < len(n.Content); i += 2 {
		line := n.Content[i].Line
		name := deref(n.Content[i])
		switch {
		case name.ShortTag() == "!!merge":
			p.fault(line, at, "merge keys (<<) are not supported: write the members out")
			whole = false
			continue
		case name.Kind != yaml.ScalarNode:
			p.fault(line, at, "the name of a member must be plain text, not %s", kindName(name))
			whole = false
			continue
		}
		if before, twice := first[name.Value]; twice {
			p.fault(line, at, "the same name is given twice: on line %d and here", before)
			continue
		}
		first[name.Value] = line
		list = append(list, member{name.Value, line, deref(n.Content[i+1])})
	}
	return list, whole
}

// locate is the line of what a JSON pointer below n names, or of the nearest ancestor that exists; line is that of n.
func locate(n *yaml.Node, line int, pointer string) int {
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		child, at := child(n, unescape.Replace(token))
		if child == nil {
			return line
		}
		n, line = deref(child), at
	}
	return line
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// child is the named member or item of n, and its line; nil when there is none.
func child(n *yaml.Node, name string) (*yaml.Node, int) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := deref(n.Content[i]); key.Kind == yaml.ScalarNode && key.Value == name {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i].Line
		}
	}
	return nil, 0
}

// kindOf is the kind of what is found by following names down from n, 0 when there is nothing.
func kindOf(n *yaml.Node, path ...string) yaml.Kind {
	for _, name := range path {
		if n, _ = child(n, name); n == nil {
			return 0
		}
		n = deref(n)
	}
	return n.Kind
}

// kindName says what a node is, for messages.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	}
	return "text"
}

// mapping checks that n is one.
func (p *parser) mapping(n *yaml.Node, line int, at place, of string) bool {
	if n.Kind != yaml.MappingNode {
		p.fault(line, at, "must be a mapping of %s, not %s", of, kindName(n))
		return false
	}
	return true
}
