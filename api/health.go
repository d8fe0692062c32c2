package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// States of a server. It goes through them in this order.
const (
	starting int32 = iota
	running
	stopping
)

// MarkReady makes /readyz 200: from now on permits can be answered.
func (s *Server) MarkReady() { s.state.CompareAndSwap(starting, running) }

// health is 200 as long as the process answers at all.
func (s *Server) health(c echo.Context) error {
	return writeJSON(c, http.StatusOK, []byte(`{"status":"ok"}`))
}

func (s *Server) ready(c echo.Context) error {
	switch s.state.Load() {
	case starting:
		return writeJSON(c, http.StatusServiceUnavailable, []byte(`{"status":"starting"}`))
	case stopping:
		return writeJSON(c, http.StatusServiceUnavailable, []byte(`{"status":"stopping"}`))
	}
	if s.coordinator.Degraded() {
		return writeJSON(c, http.StatusOK, []byte(`{"status":"degraded"}`))
	}
	return writeJSON(c, http.StatusOK, []byte(`{"status":"ready"}`))
}
