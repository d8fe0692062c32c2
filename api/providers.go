package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// providers answers GET /v1/providers, by name.
func (s *Server) providers(c echo.Context) error {
	params, err := query(c, "cursor", "page_size")
	if err != nil {
		return err
	}
	after, size, err := page(params, "providers", limiter.ValidName)
	if err != nil {
		return err
	}
	docs, more, err := s.coordinator.Policies(c.Request().Context(), after, size)
	if err != nil {
		return err
	}
	next := ""
	if more {
		next = docs[len(docs)-1].Provider
	}
	text := []byte(`{"items":[`)
	for i, d := range docs {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(appendUnreadable(appendPolicy(text, d), d.Unreadable), '}')
	}
	text = appendNext(text, "providers", next)
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

// provider answers GET /v1/providers/{provider}.
func (s *Server) provider(c echo.Context) error {
	name, err := providerParam(c)
	if err != nil {
		return err
	}
	if _, err := query(c); err != nil {
		return err
	}
	d, err := s.coordinator.Policy(c.Request().Context(), name)
	if err != nil {
		return err
	}
	return s.versioned(c, version{d.Revision, d.Tag}, func() []byte { return append(appendPolicy(nil, d), '}') })
}

// versioned answers with a document, or with 304 to a client that has this version of it.
func (s *Server) versioned(c echo.Context, v version, text func() []byte) error {
	tag := v.etag()
	h := c.Response().Header()
	h["Etag"] = []string{tag}
	h.Set("Cache-Control", "no-cache") // that is: ask again each time, by the tag
	if noneMatch(c.Request().Header.Values("If-None-Match"), tag) {
		c.Response().WriteHeader(http.StatusNotModified)
		return nil
	}
	return s.written(c, writeJSON(c, http.StatusOK, text()))
}

// appendPolicy appends a policy's JSON but for the closing brace.
func appendPolicy(dst []byte, d limiter.PolicyDoc) []byte {
	dst = append(dst, `{"name":`...)
	dst = plain(dst, d.Provider)
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendInt(dst, d.Revision, 10)
	dst = append(dst, `,"policy":`...)
	return append(dst, d.Policy.Body()...)
}

// appendUnreadable appends why a document of a list can't be read, if it can't.
func appendUnreadable(dst []byte, err error) []byte {
	if err == nil {
		return dst
	}
	return quote(append(dst, `,"unreadable":`...), err.Error())
}

// noneMatch reports whether If-None-Match lists a tag, by the weak comparison of RFC 9110. Tags made here hold neither
// comma nor space.
func noneMatch(values []string, tag string) bool {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}
