// Package policyfile reads YAML policy files into the documents that permitd stores, and writes such files.
//
// A file holds every provider's policy, and beside it the entries of pools and keys:
//
//	providers:
//	  openrouter:
//	    hold_ttl: 10m
//	    limits:
//	      key-rpm:  {scope: key, kind: rate, amount: 200, per: 1m, burst: 20}
//	      free-rpd: {scope: pool, kind: quota, amount: 1000, per: day, models: ["*:free"]}
//	    pools:
//	      acme: {label: Acme Ltd, limits: {free-rpd: {amount: 50}}}
//	    keys:
//	      k_2c26b46b68ffc68ff99b453c1d304134: {label: prod, pool: acme}
//
// pools and keys are lifted out; the rest is the policy document, in the order in which it was written. Keys are named
// by key id, never by the API key itself.
//
// What a limit may say is checked by package limiter alone. This package adds what is peculiar to YAML: it gives each
// fault its line, and refuses what JSON has no form for, or what would be read differently from how it looks: merge
// keys, tags, octal and hexadecimal numbers. Anchors and aliases work.
package policyfile

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// MaxSize is the most bytes that a file may have.
const MaxSize = 8 << 20

// File is what a policy file holds.
type File struct {
	Providers []limiter.ProviderDocs // by name; the entries of each are pools by name, then keys by key id
	Warnings  []Problem              // what is allowed but may surprise, in the order of lines
}

// Problem is a fault or a warning, and where in a file it is.
type Problem struct {
	File    string
	Line    int    // from 1
	Message string // "openrouter: /limits/rpm/amount: must be ..."
}

// String is "file:line: message", as compilers write it.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message) }

// Error lists every fault of a file, in the order of lines. It unwraps to [limiter.ErrInvalid].
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (e *Error) Unwrap() error { return limiter.ErrInvalid }

// Load reads the file at path. A file that breaks a rule gives an [*Error]; one that can't be read, another error.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the text of a file. The name only says in problems which file it was. The error is an [*Error].
func Parse(name string, data []byte) (*File, error) {
	p := &parser{file: name}
	if root := p.tree(data); root != nil {
		p.root(root)
	}
	byLine(p.faults)
	byLine(p.warnings)
	if len(p.faults) > 0 {
		return nil, &Error{p.faults}
	}
	slices.SortFunc(p.providers, func(a, b limiter.ProviderDocs) int { return strings.Compare(a.Provider, b.Provider) })
	return &File{Providers: p.providers, Warnings: p.warnings}, nil
}

func byLine(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
}
