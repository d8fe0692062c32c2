package limiter

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// didYouMean returns "; did you mean NAME?" with that of the names which is most like a mistyped one, and "" where none
// is like it.
func didYouMean(mistyped string, names []string) string {
	if len(mistyped) > 2*maxNameLen {
		return ""
	}
	best, least := "", max(2, len(mistyped)/3)+1 // edits; more of them make another name
	for _, name := range slices.Sorted(slices.Values(names)) {
		if edits := distance(plainName(mistyped), plainName(name)); edits < least {
			best, least = name, edits
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// limitNames are the names of a policy's limits.
func (p *Policy) limitNames() []string {
	names := make([]string, len(p.Limits))
	for i, l := range p.Limits {
		names[i] = l.Name
	}
	return names
}

// misnamed rewords what is wrong with a patched policy. Where the patch changes a limit that there was not, and does
// not say of which kind it is, its name was mistyped: that is told in place of all that the limit lacks.
func misnamed(doc, patch []byte, err error) error {
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	var ignored, f faults
	before, limits := parseTree(doc, &ignored).take("limits"), parseTree(patch, &ignored).take("limits")
	if limits == nil {
		return err
	}
	told := map[string]bool{} // by pointer
	var names []string
	for _, m := range before.members {
		names = append(names, m.name)
	}
	for _, m := range limits.members {
		_, there := before.find(m.name)
		if _, kind := m.node.find("kind"); m.node.kind == '{' && !there && !kind {
			told[pointer("/limits", m.name)] = false
		}
	}
	for _, fault := range invalid.Faults {
		at := limitPointer(fault.Pointer)
		done, misnamed := told[at]
		switch {
		case !misnamed:
			f = append(f, fault)
		case !done:
			told[at] = true
			name := pointerUnescapes.Replace(strings.TrimPrefix(at, "/limits/"))
			hint := cmp.Or(didYouMean(name, names), "; a new one needs its kind, scope and amount")
			f.add(at, "no limit of this name%s", hint)
		}
	}
	return f.err()
}

// limitPointer is that of the limit which a pointer into a policy is in or below.
func limitPointer(at string) string {
	parts := strings.SplitN(at, "/", 4)
	return strings.Join(parts[:min(3, len(parts))], "/")
}

var pointerUnescapes = strings.NewReplacer("~1", "/", "~0", "~")

// plainName is a name without what people leave out of it.
func plainName(name string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

// distance returns how many bytes have to be inserted, deleted or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // from the first i bytes of a to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
