package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// needs is what a route asks of its callers. Every route says so where it is registered.
type needs uint8

const (
	needsToken    needs = iota // any role: what is not registered, so that strangers can't tell what there is
	needsNothing               // not even a token
	needsPermits               // a token that may ask for permits
	needsViewer                // one that may read
	needsOperator              // one that may do anything
)

// metBy reports whether a role will do.
func (n needs) metBy(r Role) bool {
	switch n {
	case needsPermits:
		return r == RolePermits || r == RoleOperator
	case needsViewer:
		return r == RoleViewer || r == RoleOperator
	case needsOperator:
		return r == RoleOperator
	}
	return true
}

// route is what the router matched.
type route struct{ method, path string }

// admit lets a request pass if its token may do what it asks for, and notes whose it is. Without tokens everybody may do
// everything.
func (s *Server) admit(c *request) error {
	if s.tokens == nil {
		return nil
	}
	n := s.needs[route{c.Request().Method, c.Path()}]
	if n == needsNothing {
		return nil
	}
	presented, ok := bearer(c.Request().Header)
	if !ok {
		return errNoToken
	}
	t := s.tokens.find(presented)
	if t == nil {
		return s.refuse(c)
	}
	if c.caller = t.Name; !n.metBy(t.Role) {
		return errForbidden
	}
	return nil
}

// bearer is the token that a request presents (RFC 6750), if it does so in the one way there is: in one Authorization
// header, of the scheme Bearer, whatever its case.
func bearer(h http.Header) (token string, ok bool) {
	const scheme = "bearer "
	values := h["Authorization"]
	if len(values) != 1 || len(values[0]) <= len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", false
	}
	token = strings.Trim(values[0][len(scheme):], " ")
	return token, token != ""
}

// refuse answers a token that is not known. It comes after the tokens were looked through, so that no valid one is ever
// throttled for what others did.
func (s *Server) refuse(c *request) error {
	client := clientOf(c.RealIP())
	if s.throttle != nil {
		if wait := s.throttle.Failed(c.Request().Context(), client); wait > 0 {
			p := *errTooManyFailures
			p.retryAfter = wait
			return &p
		}
	}
	s.log.Info("refused a token that is not known", "client", client, "route", c.Path())
	return errUnknownToken
}

var (
	errNoToken = &problem{
		status: http.StatusUnauthorized, name: "unauthorized", title: "Token missing", challenge: "Bearer",
		detail: "permitd asks for a token here: send it in one header, Authorization: Bearer TOKEN",
	}
	errUnknownToken = &problem{
		status: http.StatusUnauthorized, name: "unauthorized", title: "Token not known", challenge: `Bearer error="invalid_token"`,
		detail: "no such token is in force: check that it was copied whole, or ask permitd's operator for a new one",
	}
	errForbidden = &problem{
		status: http.StatusForbidden, name: "forbidden", title: "Role does not reach", challenge: `Bearer error="insufficient_scope"`,
		detail: "the token's role does not allow this: permits is for /v1/permits, viewer reads everything else, operator may do everything; use a token of such a role",
	}
	errTooManyFailures = &problem{
		status: http.StatusTooManyRequests, name: "too-many-requests", title: "Too many failed logins",
		detail: "too many unknown tokens came from this address: wait for Retry-After, and send one that is in force, which is never made to wait",
	}
)

// caller is the name of the token that a request was made with, "" where permitd runs without tokens.
func caller(c echo.Context) string {
	if r, ok := c.(*request); ok {
		return r.caller
	}
	return ""
}
