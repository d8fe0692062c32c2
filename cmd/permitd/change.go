package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// change is one write of a document.
type change struct {
	provider string
	what     string // policy, pool NAME or key ID
	path     string
	doc      []byte
	state    *state
	creates  bool     // there is none yet, as far as the plan knows
	restarts []string // limits whose counters start afresh, as far as the plan knows
	remark   string
}

// state is what is known of a stored document. The changes of one document share it. The zero state: nothing.
type state struct {
	absent bool
	etag   string
}

func stateOf(d document) *state { return &state{absent: d.etag == "", etag: d.etag} }

// String names what is changed.
func (c *change) String() string { return c.provider + ": " + c.what }

// planned is the line of a change that is not made.
func (c *change) planned() string {
	verb := "changed"
	if c.creates {
		verb = "created"
	}
	line := fmt.Sprintf("%s would be %s%s", c, verb, c.remark)
	if len(c.restarts) > 0 {
		line += "; would start afresh: " + strings.Join(c.restarts, ", ")
	}
	return line
}

// make writes the document on top of what it was compared with. Where somebody else wrote in between, it is compared
// again, once: what the file says goes on top of theirs, which stays in the history.
func (c *change) make(ctx context.Context, r *remote, note string) (line string, err error) {
	path := c.path
	if note != "" {
		path += "?" + url.Values{"note": {note}}.Encode()
	}
	var over int64 // the revision that somebody else wrote
	for try := 1; ; try++ {
		if c.state.etag == "" && !c.state.absent {
			now, err := r.read(ctx, c.path)
			if err != nil {
				return "", err
			}
			if *c.state = *stateOf(now); now.body() != nil && sameJSON(now.body(), c.doc) {
				return fmt.Sprintf("%s is as the file says by now (revision %d)", c, now.Revision), nil
			}
			if now.RotatedTo != "" {
				return "", fmt.Errorf("was just rotated to %s: name that one in the file instead", clean(now.RotatedTo))
			}
			if try > 1 {
				over = now.Revision
			}
		}
		a, err := r.do(ctx, http.MethodPut, path, c.condition(), c.doc)
		switch {
		case err != nil:
			return "", fmt.Errorf("%w; it may be written all the same", err)
		case a.status == http.StatusPreconditionFailed && try == 1:
			*c.state = state{}
			continue
		case a.status == http.StatusPreconditionFailed:
			return "", errors.New("somebody else writes it at the same time, twice already: find out who from the history, and then what it is to be")
		case a.status >= 500:
			return "", fmt.Errorf("%w; it may be written all the same", r.refused(a))
		}
		written, err := r.document(a)
		if err != nil {
			return "", err
		}
		*c.state = *stateOf(written)
		return c.done(a.status == http.StatusCreated, written, over), nil
	}
}

func (c *change) condition() http.Header {
	if c.state.absent {
		return http.Header{"If-None-Match": {"*"}}
	}
	return http.Header{"If-Match": {c.state.etag}}
}

// done is the line of a change that was made.
func (c *change) done(created bool, written document, over int64) string {
	line := c.String() + " changed"
	if created {
		line = c.String() + " created"
	}
	if written.Policy != nil {
		line += fmt.Sprintf(" (revision %d)", written.Revision)
	}
	line += c.remark
	if len(written.Restarted) > 0 {
		line += "; started afresh: " + clean(strings.Join(written.Restarted, ", "))
	}
	if len(written.Misfits) > 0 {
		line += "; overrides of keys or pools do not fit and are clamped: " + clean(strings.Join(written.Misfits, ", "))
	}
	if over > 0 {
		line += fmt.Sprintf("; revision %d, which somebody else wrote meanwhile, is replaced", over)
	}
	return line
}
