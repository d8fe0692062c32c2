package api

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// readEdit reads who makes a write, and why.
func readEdit(c echo.Context) (limiter.Edit, error) {
	params, err := query(c, "note")
	if err != nil {
		return limiter.Edit{}, err
	}
	note := params.Get("note")
	if note != "" && !limiter.Printable(note, limiter.MaxNoteLen) {
		return limiter.Edit{}, invalid(limiter.Fault{Pointer: "/note", Detail: fmt.Sprintf("must be at most %d printable characters", limiter.MaxNoteLen)})
	}
	return limiter.Edit{By: caller(c), Note: note}, nil
}

// readConditionalEdit is readEdit for a write that takes a precondition.
func readConditionalEdit(c echo.Context) (limiter.Edit, precondition, error) {
	e, err := readEdit(c)
	if err != nil {
		return e, precondition{}, err
	}
	p, err := readPrecondition(c.Request().Header)
	return e, p, err
}

// readPlainEdit is readEdit for a write that takes none.
func readPlainEdit(c echo.Context) (limiter.Edit, error) {
	if err := refusePrecondition(c.Request().Header); err != nil {
		return limiter.Edit{}, err
	}
	return readEdit(c)
}

// audit logs a write that was made. id is the key id or the pool of an entry, or "". revision is 0 when there is none.
func (s *Server) audit(c echo.Context, what, provider, id string, revision int64, e limiter.Edit) {
	attrs := []slog.Attr{slog.String("what", what), slog.String("provider", provider)}
	if id != "" {
		attrs = append(attrs, slog.String("id", id))
	}
	if revision != 0 {
		attrs = append(attrs, slog.Int64("revision", revision))
	}
	attrs = append(attrs, slog.String("by", e.By), slog.String("note", e.Note))
	s.log.LogAttrs(c.Request().Context(), slog.LevelInfo, "tuned", attrs...)
}

// edited marks the error of a write, so that its problem speaks of that. conflict is what to do where there is something
// else than the write was made for; "" says to read it again.
func edited(err error, conflict string) error {
	if err == nil {
		return nil
	}
	return &editError{err, conflict}
}

type editError struct {
	error
	conflict string
}

func (e *editError) Unwrap() error { return e.error }

func (e *editError) detail(p *problem) string {
	switch {
	case p.status == http.StatusServiceUnavailable:
		return "permitd can't tell whether this was written: GET it after Retry-After and compare its revision with the one that you know; send the write again only if that has not changed"
	case errors.Is(e, limiter.ErrConflict):
		return cmp.Or(e.conflict, p.detail)
	}
	return p.detail
}
