package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// maxPageSize is the longest page of a list, and what it is unless a client asks for less.
const maxPageSize = 1000

// providers answers GET /v1/providers, by name. The cursor of a page is the last name of the one before.
func (s *Server) providers(c echo.Context) error {
	params, err := query(c, "cursor", "page_size")
	if err != nil {
		return err
	}
	after, size, err := page(params.Get("cursor"), params.Get("page_size"))
	if err != nil {
		return err
	}
	docs, err := s.coordinator.Policies(c.Request().Context())
	if err != nil {
		return err
	}
	from, seen := slices.BinarySearchFunc(docs, after, func(d limiter.PolicyDoc, name string) int {
		return strings.Compare(d.Provider, name)
	})
	if seen {
		from++
	}
	docs = docs[from:]
	next := ""
	if len(docs) > size {
		docs, next = docs[:size], docs[size-1].Provider
	}
	text := []byte(`{"items":[`)
	for i, d := range docs {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendPolicy(text, d)
	}
	text = append(text, `],"next_cursor":`...)
	text = append(plainOrNull(text, next), '}')
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

// page reads what a client says of the page that it wants.
func page(cursor, pageSize string) (after string, size int, err error) {
	var faults []limiter.Fault
	if cursor != "" && !limiter.ValidName(cursor) {
		faults = append(faults, limiter.Fault{Pointer: "/cursor", Detail: "must be the next_cursor of the page before"})
	}
	size = maxPageSize
	if pageSize != "" {
		size, err = strconv.Atoi(pageSize)
		if err != nil || size < 1 || size > maxPageSize {
			faults = append(faults, limiter.Fault{Pointer: "/page_size", Detail: "must be a whole number from 1 to " + strconv.Itoa(maxPageSize)})
		}
	}
	if len(faults) > 0 {
		return "", 0, invalid(faults...)
	}
	return cursor, size, nil
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
	tag := etag(d)
	h := c.Response().Header()
	h["Etag"] = []string{tag}
	h.Set("Cache-Control", "no-cache") // that is: ask again each time, by the tag
	if noneMatch(c.Request().Header.Values("If-None-Match"), tag) {
		c.Response().WriteHeader(http.StatusNotModified)
		return nil
	}
	return s.written(c, writeJSON(c, http.StatusOK, appendPolicy(nil, d)))
}

func appendPolicy(dst []byte, d limiter.PolicyDoc) []byte {
	dst = append(dst, `{"name":`...)
	dst = plain(dst, d.Provider)
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendInt(dst, d.Revision, 10)
	dst = append(dst, `,"policy":`...)
	dst = append(dst, d.Policy.Body()...)
	return append(dst, '}')
}

// etag tells one version of a policy from every other, also from those of a store that was emptied and filled again.
func etag(d limiter.PolicyDoc) string {
	return `"` + strconv.FormatInt(d.Revision, 10) + "-" + d.Tag + `"`
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
