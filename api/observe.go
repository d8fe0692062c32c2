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
	server *Server
	caller string // the name of its token
	gone   bool   // its client did not wait for the answer
	before func() // aboutToAnswer
}

var requests = sync.Pool{New: func() any {
	r := new(request)
	r.before = r.aboutToAnswer
	return r
}}

// statusGone is what is counted, and logged, of a request whose client did not wait for the answer, as nginx has it. An
// error of permitd's own it is not.
const statusGone = 499

// observe counts requests, writes the access log and turns a panic into a 500. The log says nothing of bodies, queries or
// headers: API keys and tokens may be in them.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := requests.Get().(*request)
		r.Context, r.server = c, s
		c.Response().Before(r.before)
		defer func() {
			*r = request{before: r.before}
			requests.Put(r)
		}()
		conn := connectionIn(c.Request())
		conn.begin(c.Request())
		defer conn.end()
		began := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		s.answer(r, next)
		method, status, took := c.Request().Method, c.Response().Status, time.Since(began)
		if r.gone {
			status = statusGone
		}
		s.metrics.answered(c.Path(), method, status, took)
		if s.log.Enabled(c.Request().Context(), slog.LevelDebug) {
			s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "request",
				slog.String("method", method),
				slog.String("route", c.Path()),
				slog.String("caller", r.caller),
				slog.Int("status", status),
				slog.Duration("took", took))
		}
		return nil
	}
}

// aboutToAnswer is called before the answer is sent.
func (r *request) aboutToAnswer() {
	r.goodbye()
	r.hurry()
}

// hurry has the rest of a body that nobody reads come soon. The connection is closed when it does not, since the next
// request would follow it. HTTP/2 does without the rest.
func (r *request) hurry() {
	if req := r.Request(); req.ProtoMajor == 1 && req.ContentLength != 0 && connectionIn(req).owes() {
		deadline := time.Now().Add(unreadTimeout)
		_ = http.NewResponseController(r.Response().Writer).SetReadDeadline(deadline) // or it is closed already
	}
}

// The values of headers that every answer has. They are shared between answers, never changed.
var (
	nosniff    = []string{"nosniff"}
	sameOrigin = []string{"same-origin"}
)

// setGuards sets the headers that keep web pages of other sites from what permitd answers: no browser takes it for
// something else than its Content-Type says, nor hands it to such a page.
func setGuards(h http.Header) {
	h["X-Content-Type-Options"] = nosniff
	h["Cross-Origin-Resource-Policy"] = sameOrigin
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
	setGuards(c.Response().Header())
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
