package api

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"
)

// observe counts requests, writes the access log and turns a panic into a 500. The log says nothing of bodies, queries or
// headers: API keys and tokens may be in them.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		s.answer(c, next)
		r, status, took := c.Request(), c.Response().Status, time.Since(began)
		s.metrics.answered(c.Path(), r.Method, status, took)
		if s.log.Enabled(r.Context(), slog.LevelDebug) {
			s.log.LogAttrs(r.Context(), slog.LevelDebug, "request",
				slog.String("method", r.Method),
				slog.String("route", c.Path()),
				slog.Int("status", status),
				slog.Duration("took", took))
		}
		return nil
	}
}

// answer runs a handler, behind the guard, and sees to it that the client gets something whatever comes of it.
func (s *Server) answer(c echo.Context, h echo.HandlerFunc) {
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
	var err error
	if s.guarded {
		err = guard(c.Request())
	}
	if err == nil {
		err = h(c)
	}
	if err != nil {
		s.fail(err, c)
	}
}
