package api

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// request is an echo.Context that knows whose request it is. They are used again and again.
type request struct {
	echo.Context
	caller string // the name of its token
}

var requests = sync.Pool{New: func() any { return new(request) }}

// observe writes the access log and turns a panic into a 500. The log says nothing of bodies, queries or headers: API
// keys and tokens may be in them.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := requests.Get().(*request)
		*r = request{Context: c}
		defer func() {
			*r = request{}
			requests.Put(r)
		}()
		if !s.log.Enabled(c.Request().Context(), slog.LevelDebug) {
			s.answer(r, next)
			return nil
		}
		began := time.Now()
		s.answer(r, next)
		s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "request",
			slog.String("method", c.Request().Method),
			slog.String("route", c.Path()),
			slog.String("caller", r.caller),
			slog.Int("status", c.Response().Status),
			slog.Duration("took", time.Since(began)))
		return nil
	}
}

// answer runs a handler, behind the guard and the tokens, and sees to it that the client gets something whatever comes
// of it.
func (s *Server) answer(c *request, h echo.HandlerFunc) {
	defer func() {
		p := recover()
		switch {
		case p == nil:
			return
		case p == http.ErrAbortHandler:
			panic(p)
		}
		s.log.Error("panic in a handler", "route", c.Path(), "panic", p, "stack", string(debug.Stack()))
		if c.Response().Committed {
			panic(http.ErrAbortHandler) // half an answer must not look like a whole one
		}
		s.fail(errInternal, c)
	}()
	err := s.enter(c)
	if err == nil {
		err = h(c)
	}
	if err != nil {
		s.fail(err, c)
	}
}

// enter is why a request may not come in, nil if it may.
func (s *Server) enter(c *request) error {
	if s.guarded {
		if err := guard(c.Request()); err != nil {
			return err
		}
	}
	return s.admit(c)
}
