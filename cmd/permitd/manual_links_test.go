package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`^(#+) (.+)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// heading is a heading of a page, and the anchor by which links find it.
type heading struct {
	depth         int
	title, anchor string
}

// prose calls f with each line of a page that is in no fence.
func prose(t *testing.T, name string, f func(number int, line string)) {
	t.Helper()
	fenced, number := false, 0
	for line := range strings.Lines(page(t, name)) {
		number++
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case !fenced:
			f(number, line)
		}
	}
}

// headings returns those of a page, in order.
func headings(t *testing.T, name string) (all []heading) {
	t.Helper()
	prose(t, name, func(_ int, line string) {
		if m := mdHeading.FindStringSubmatch(line); m != nil {
			anchor := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(m[2]), ""), " ", "-")
			all = append(all, heading{len(m[1]), m[2], anchor})
		}
	})
	return all
}

// TestManualLinks: every relative link finds a file, and in a page the heading.
func TestManualLinks(t *testing.T) {
	for _, name := range append(pages(t), "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md") {
		anchors := map[string]bool{}
		for _, h := range headings(t, name) {
			if anchors[h.anchor] {
				t.Errorf("%s has two headings %q: no link tells them apart", name, h.title)
			}
			anchors[h.anchor] = true
		}
		prose(t, name, func(number int, line string) {
			for _, m := range mdLink.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				file, anchor, _ := strings.Cut(m[1], "#")
				target := name
				if file != "" {
					target = path.Join(path.Dir(name), file)
				}
				if _, err := os.Stat(filepath.Join(manual, target)); err != nil {
					t.Errorf("%s:%d: %s: %v", name, number, m[1], err)
				} else if anchor != "" {
					found := false
					for _, h := range headings(t, target) {
						found = found || h.anchor == anchor
					}
					if !found {
						t.Errorf("%s:%d: %s: no such heading", name, number, m[1])
					}
				}
			}
		})
	}
}

// TestManualContents: docs/README.md lists every section of every page, in order.
func TestManualContents(t *testing.T) {
	contents := page(t, "docs/README.md")
	for _, name := range pages(t) {
		if name == "README.md" || name == "docs/README.md" {
			continue
		}
		base, want := path.Base(name), ""
		for _, h := range headings(t, name) {
			if h.depth > 1 {
				want += strings.Repeat("  ", h.depth-2) + "- [" + h.title + "](" + base + "#" + h.anchor + ")\n"
			}
		}
		if !strings.Contains(contents, "]("+base+")") || !strings.Contains(contents, want) {
			t.Errorf("docs/README.md does not list %s as it is; its sections are\n%s", name, want)
		}
	}
}

// TestManualIsReadable: the README is short, and prose has no long lines.
func TestManualIsReadable(t *testing.T) {
	if n := strings.Count(page(t, "README.md"), "\n"); n > 180 {
		t.Errorf("the README has %d lines: move what is no introduction to docs/", n)
	}
	for _, name := range pages(t) {
		prose(t, name, func(number int, line string) {
			if !strings.HasPrefix(line, "|") && utf8.RuneCountInString(line) > 120 {
				t.Errorf("%s:%d has %d columns, more than 120", name, number, utf8.RuneCountInString(line))
			}
		})
	}
}
