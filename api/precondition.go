package api

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// precondition is what a write demands of what is stored (RFC 9110). The zero value demands nothing.
type precondition struct {
	absent bool     // If-None-Match: *
	any    bool     // If-Match: *
	tags   []string // If-Match, with quotes; by the strong comparison, so that weak ones match nothing
}

// readPrecondition reads If-Match and If-None-Match.
func readPrecondition(h http.Header) (p precondition, err error) {
	match, noneMatch := h.Values("If-Match"), h.Values("If-None-Match")
	var faults []limiter.Fault
	ok := true
	if len(match) > 0 {
		if p.tags, p.any, ok = readTags(match); !ok {
			faults = append(faults, limiter.Fault{Detail: `the If-Match header must be the ETag as GET gave it, quotes included, several of them, or *`})
		}
	}
	if len(noneMatch) > 0 {
		if p.absent = len(noneMatch) == 1 && strings.TrimSpace(noneMatch[0]) == "*"; !p.absent {
			faults = append(faults, limiter.Fault{Detail: "the If-None-Match header of a write must be *, which writes only what is not there yet"})
		}
	}
	if len(match) > 0 && len(noneMatch) > 0 {
		faults = append(faults, limiter.Fault{Detail: "If-Match is for what is there and If-None-Match for what is not: send one of them"})
	}
	if len(faults) > 0 {
		return precondition{}, invalid(faults...)
	}
	return p, nil
}

// refusePrecondition is for requests that have none: to leave it out of account would do what the client did not want.
func refusePrecondition(h http.Header) error {
	if len(h.Values("If-Match"))+len(h.Values("If-None-Match")) > 0 {
		return invalid(limiter.Fault{Detail: "If-Match and If-None-Match have no meaning here: leave them out"})
	}
	return nil
}

// entityTag is one of a list, with the comma after it.
var entityTag = regexp.MustCompile(`^(W/)?"[^"[:cntrl:] ]*"[ \t]*(,|$)`)

// readTags reads a list of entity tags, or a star.
func readTags(values []string) (tags []string, star, ok bool) {
	text := strings.Trim(strings.Join(values, ","), " \t,")
	if text == "*" {
		return nil, true, true
	}
	for text != "" {
		one := entityTag.FindString(text)
		if one == "" {
			return nil, false, false
		}
		tags = append(tags, strings.TrimRight(one, " \t,"))
		text = strings.TrimLeft(text[len(one):], " \t,")
	}
	return tags, false, len(tags) > 0
}

// version is what a precondition is held against.
type version struct {
	revision int64
	tag      string // "" when there is nothing
}

// etag tells one version of a document from every other, also from those of a store that was emptied and filled again.
func (v version) etag() string { return `"` + strconv.FormatInt(v.revision, 10) + "-" + v.tag + `"` }

// write makes a write if the condition holds. current is what is stored; it is asked for only where a condition names it.
func (p precondition) write(e limiter.Edit, current func() (version, error), write func(limiter.Edit) error) error {
	e.Absent = p.absent
	if !p.any && len(p.tags) == 0 {
		return write(e)
	}
	var refused error
	for tried := (version{}); ; {
		v, err := current()
		switch {
		case err != nil:
			return err
		case v.tag == "" || !p.any && !slices.Contains(p.tags, v.etag()):
			return &limiter.ConflictError{Revision: v.revision}
		case v == tried: // it was refused for something else than what changed here
			return refused
		}
		e.Tag, tried = v.tag, v
		if refused = write(e); !errors.Is(refused, limiter.ErrConflict) {
			return refused
		}
	}
}
