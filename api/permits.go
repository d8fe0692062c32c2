package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// permit answers POST /v1/permits.
func (s *Server) permit(c echo.Context) error {
	ask, d, err := s.acquire(c)
	s.metrics.asked(&ask, d, err)
	if err != nil {
		return err
	}
	setRateLimitFields(c.Response().Header(), d)
	if d.Replayed {
		c.Response().Header()["Idempotency-Replayed"] = []string{"true"}
	}
	pooled := buffers.Get().(*[]byte)
	text := appendDecision(*pooled, d, false)
	defer giveBack(pooled, text)
	if d.Allowed {
		return s.written(c, writeJSON(c, http.StatusOK, text))
	}
	return s.written(c, writeProblem(c, http.StatusTooManyRequests, text))
}

// acquire decides over the ask that a request carries. It returns the ask as far as it could be read.
func (s *Server) acquire(c echo.Context) (limiter.Ask, *limiter.Decision, error) {
	r := c.Request()
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return limiter.Ask{}, nil, err
	}
	ask, err := readOneAsk(r)
	if err != nil {
		return ask, nil, err
	}
	ask.IdempotencyKey, ask.Caller = key, caller(c)
	d, err := s.coordinator.Acquire(r.Context(), ask)
	return ask, d, err
}

// written takes note of a failure to send an answer. There is nobody left to tell.
func (s *Server) written(c echo.Context, err error) error {
	if err != nil {
		s.log.Debug("the client went away", "route", c.Path(), "error", err)
	}
	return nil
}

// readOneAsk reads a body that is an ask and nothing else.
func readOneAsk(r *http.Request) (ask limiter.Ask, err error) {
	b, err := readBody(r, maxBody, errBodyTooLarge)
	if err != nil {
		return ask, err
	}
	defer b.release()
	err = b.readWhole(&askReader{ask: &ask, known: askMembers})
	return ask, err
}
