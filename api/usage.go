package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// usage answers GET /v1/providers/{provider}/usage.
func (s *Server) usage(c echo.Context) error {
	provider, err := providerParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "key_id", "pool", "model")
	if err != nil {
		return err
	}
	d, err := s.coordinator.Usage(c.Request().Context(), limiter.UsageQuery{
		Provider: provider,
		KeyID:    params.Get("key_id"),
		Pool:     params.Get("pool"),
		Model:    params.Get("model"),
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.written(c, writeJSON(c, http.StatusOK, appendUsage(nil, d)))
}

func appendUsage(dst []byte, d *limiter.Decision) []byte {
	dst = append(dst, `{"provider":`...)
	dst = plain(dst, d.Provider)
	dst = append(dst, `,"key_id":`...)
	dst = plainOrNull(dst, d.KeyID)
	dst = append(dst, `,"pool":`...)
	dst = plainOrNull(dst, d.Pool)
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendInt(dst, d.Revision, 10)
	dst = append(dst, `,"limits":[`...)
	for i := range d.Limits {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendUsed(dst, &d.Limits[i])
	}
	return append(dst, "]}"...)
}

func appendUsed(dst []byte, l *limiter.LimitStatus) []byte {
	dst = append(dst, `{"name":`...)
	dst = plain(dst, l.Name)
	dst = append(dst, `,"scope":`...)
	dst = plain(dst, string(l.Scope))
	dst = append(dst, `,"kind":`...)
	dst = plain(dst, string(l.Kind))
	dst = append(dst, `,"unit":`...)
	dst = plain(dst, l.Unit)
	dst = append(dst, `,"model":`...)
	if l.Model == "" {
		dst = append(dst, "null"...)
	} else {
		dst = quote(dst, l.Model)
	}
	dst = append(dst, `,"amount":`...)
	dst = strconv.AppendInt(dst, l.Amount, 10)
	dst = append(dst, `,"used":`...)
	dst = strconv.AppendInt(dst, l.Used, 10)
	dst = append(dst, `,"remaining":`...)
	dst = strconv.AppendInt(dst, l.Remaining, 10)
	dst = append(dst, `,"reset_ms":`...)
	dst = appendMillis(dst, l.Reset)
	dst = append(dst, `,"mode":`...)
	dst = plain(dst, string(l.Mode))
	dst = append(dst, `,"would_deny":`...)
	dst = strconv.AppendBool(dst, l.WouldDeny)
	dst = appendCountedAs(dst, l.CountedAs)
	if l.Misfit != "" {
		dst = quote(append(dst, `,"misfit":`...), l.Misfit)
	}
	return append(dst, '}')
}
