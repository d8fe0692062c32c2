package api

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// query reads the parameters of a request's query. Those that are not known, and those given twice, are faults; an empty
// one counts as absent.
func query(c echo.Context, known ...string) (url.Values, error) {
	raw := c.Request().URL.RawQuery
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalid(limiter.Fault{Detail: "the query is malformed: percent-encode the values of its parameters"})
	}
	unknown := "unknown query parameter; known here: " + cmp.Or(strings.Join(known, ", "), "none")
	var faults []limiter.Fault
	for name, v := range values {
		at := pointer("", []byte(name))
		if !slices.Contains(known, name) {
			faults = append(faults, limiter.Fault{Pointer: at, Detail: unknown})
		} else if len(v) > 1 {
			faults = append(faults, limiter.Fault{Pointer: at, Detail: fmt.Sprintf("is given %d times; give it once", len(v))})
		}
	}
	if len(faults) > 0 {
		slices.SortFunc(faults, func(a, b limiter.Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
		return nil, invalid(faults[:min(len(faults), maxFaults)]...)
	}
	return values, nil
}

// providerParam is the name of a provider in a request's path.
func providerParam(c echo.Context) (string, error) {
	name, err := url.PathUnescape(c.Param("provider"))
	if err != nil || !limiter.ValidName(name) {
		return "", limiter.ErrUnknownProvider
	}
	return name, nil
}
