package api

import (
	"net/netip"
	"slices"
	"strings"
)

// The headers in which proxies say for whom they ask. Each proxy appends the address that it was asked from, to the
// last line or in a line of its own, so that the last is what the nearest proxy saw. What is before that may be forged,
// and is looked at only where the nearest saw another trusted proxy.

// nearestOfXFF yields the entries of X-Forwarded-For, the last first. Empty ones are left out.
func nearestOfXFF(lines []string) func(yield func(node string) bool) {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for more := true; more; {
				comma := strings.LastIndexByte(line, ',')
				node := strings.Trim(line[comma+1:], " \t")
				if node != "" && !yield(node) {
					return
				}
				if more = comma >= 0; more {
					line = line[:comma]
				}
			}
		}
	}
}

// nearestOfForwarded yields the parameter for of the elements of Forwarded, the last first, and "" for an element
// without one. A line that is malformed yields "" once: in it an element of the proxy's can't be told from one of the
// client's.
func nearestOfForwarded(lines []string) func(yield func(node string) bool) {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			nodes, ok := parseForwarded(line)
			if !ok {
				nodes = []string{""}
			}
			for _, node := range slices.Backward(nodes) {
				if !yield(node) {
					return
				}
			}
		}
	}
}

// parseForwarded reads a line of Forwarded: elements separated by commas, each of parameters separated by semicolons,
// each a name, "=" and a token or a quoted string (RFC 7239, section 4). It returns the parameter for of each element,
// "" where there is none. ok is false for anything else, and for a parameter that is given twice.
func parseForwarded(line string) (nodes []string, ok bool) {
	node, names := "", []string(nil) // of the element that is being read
	for {
		line = strings.TrimLeft(line, " \t")
		if line != "" && line[0] != ',' && line[0] != ';' {
			name, value, rest, ok := cutParameter(line)
			if !ok || slices.Contains(names, name) {
				return nil, false
			}
			if names = append(names, name); name == "for" {
				node = value
			}
			line = strings.TrimLeft(rest, " \t")
		}
		switch {
		case line == "" || line[0] == ',':
			if len(names) > 0 { // an empty element is none
				nodes = append(nodes, node)
			}
			if line == "" {
				return nodes, true
			}
			node, names = "", names[:0]
		case line[0] != ';':
			return nil, false
		}
		line = line[1:]
	}
}

// cutParameter cuts name=value off a line. The name is in lower case, the value without its quotes. An address with a
// port or in brackets should be in quotes, and is taken without them too.
func cutParameter(line string) (name, value, rest string, ok bool) {
	n := tokenLen(line, "")
	if n == 0 || n == len(line) || line[n] != '=' {
		return "", "", line, false
	}
	name, rest = strings.ToLower(line[:n]), line[n+1:]
	if n = tokenLen(rest, ":[]"); n > 0 {
		return name, rest[:n], rest[n:], true
	}
	value, rest, ok = cutQuoted(rest)
	return name, value, rest, ok
}

// cutQuoted cuts a quoted string off s.
func cutQuoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	var unquoted []byte
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return string(unquoted), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", s, false
			}
		}
		unquoted = append(unquoted, s[i])
	}
	return "", s, false
}

// tokenLen returns how many bytes at the beginning of s may be in a token (RFC 9110, section 5.6.2), or are among
// others.
func tokenLen(s, others string) int {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 && strings.IndexByte(others, c) < 0 {
			return i
		}
	}
	return len(s)
}

// parseNode reads an address as proxies write it: 203.0.113.7, 203.0.113.7:51234, 2001:db8::1, [2001:db8::1] or
// [2001:db8::1]:443, an IPv6 address also with a zone. "unknown" and names that hide an address are none.
func parseNode(node string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(node, "["); ok {
		inner, port, ok := strings.Cut(inner, "]")
		if !ok || port != "" && !isPort(port) || !strings.Contains(inner, ":") {
			return netip.Addr{}, false
		}
		return parseAddr(inner)
	}
	if host, _, ok := strings.Cut(node, ":"); ok && isPort(node[len(host):]) && !strings.Contains(host, ":") {
		return parseAddr(host)
	}
	return parseAddr(node)
}

// isPort reports whether s is a colon and the number of a port, or a name that stands for one in Forwarded.
func isPort(s string) bool {
	port, ok := strings.CutPrefix(s, ":")
	if hidden, ok := strings.CutPrefix(port, "_"); ok {
		return hidden != "" && tokenLen(hidden, "") == len(hidden)
	}
	return ok && port != "" && len(port) <= 5 && strings.Trim(port, "0123456789") == ""
}
