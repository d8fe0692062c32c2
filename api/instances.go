package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// instances answers GET /v1/instances.
func (s *Server) instances(c echo.Context) error {
	if _, err := query(c); err != nil {
		return err
	}
	found, err := s.coordinator.Instances(c.Request().Context())
	if err != nil {
		return err
	}
	text := []byte(`{"items":[`)
	for i, in := range found {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendInstance(text, in)
	}
	text = append(text, `],"next_cursor":null}`...)
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

func appendInstance(dst []byte, in limiter.Instance) []byte {
	dst = append(dst, `{"id":`...)
	dst = quote(dst, in.ID)
	dst = append(dst, `,"version":`...)
	dst = quote(dst, in.Version)
	dst = append(dst, `,"started_at":`...)
	dst = appendTime(dst, in.StartedAt)
	dst = append(dst, `,"degraded":`...)
	dst = strconv.AppendBool(dst, in.Degraded)
	dst = append(dst, `,"applied":`...)
	dst = appendByName(dst, in.Applied)
	return append(dst, '}')
}
