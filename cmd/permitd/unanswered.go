package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// unreached says why there is no answer, and what to do.
func (r *remote) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // without the URL, which comes anyway
	}
	var timeout net.Error
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	advice := "is permitd running there, and is --url (or PERMITD_ADDR) right?"
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s did not answer within %v: try again, and see its log if that helps nothing", r.base, r.http.Timeout)
	case errors.As(err, &authority), errors.As(err, &name):
		advice = "give the certificate that permitd was given as --tls-cert"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		advice = "it does not speak HTTPS: give --url with http://, and no --tls-cert"
	}
	return fmt.Errorf("can't reach %s: %w: %s", r.base, err, advice)
}

// problem is an answer other than success, as RFC 9457 has it.
type problem struct {
	Type   string
	Title  string
	Detail string
	Errors []struct{ Pointer, Detail string }
}

// problem is what an answer says is wrong; its Type is "" when it is not permitd's.
func (a *answer) problem() (p problem) {
	if json.Unmarshal(a.body, &p) != nil {
		return problem{}
	}
	return p
}

// is reports whether a problem is of the type that ends with a name.
func (p problem) is(name string) bool {
	return strings.HasSuffix(p.Type, ":"+name) || strings.HasSuffix(p.Type, "/"+name) || strings.HasSuffix(p.Type, "#"+name)
}

// refused says what permitd did not do, and what to do about it.
func (r *remote) refused(a *answer) error {
	p := a.problem()
	text := fmt.Sprintf("%s answered %d %s", r.base, a.status, http.StatusText(a.status))
	if said := p.text(); said != "" {
		text += ": " + said
	} else if line, _, _ := bytes.Cut(bytes.TrimSpace(a.body), []byte("\n")); len(line) > 0 && len(line) <= 200 && line[0] != '<' {
		text += ": " + clean(string(line))
	}
	if advice := r.advice(a, p); advice != "" {
		text += " (" + advice + ")"
	}
	return errors.New(text)
}

// advice is what the operator can do where permitd can't know.
func (r *remote) advice(a *answer, p problem) string {
	switch {
	case a.status == http.StatusUnauthorized && r.token == "":
		return "give a token of role " + r.role + " as --token @PATH, or in PERMITD_TOKEN"
	case a.status == http.StatusUnauthorized:
		return r.tokenFlag + " is the token alone, without role and name"
	case a.status == http.StatusForbidden && r.token != "":
		return r.tokenFlag + " must be of role " + r.role
	case a.status == http.StatusForbidden:
		return "see --url"
	case a.status/100 == 3:
		return fmt.Sprintf("it redirects to %q: give the URL of permitd itself as --url", a.header.Get("Location"))
	case a.status == http.StatusNotFound && (p.Type == "" || p.is("not-found")):
		return "is --url that of a permitd of this version? Where it has an --admin-addr, it must be that address"
	case p.Type == "":
		return "is --url that of a permitd?"
	}
	return ""
}

// text is all that a problem says, on one line.
func (p problem) text() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, e := range p.Errors {
		text += "; " + strings.TrimPrefix(e.Pointer+": ", ": ") + e.Detail
	}
	return clean(text)
}

// clean is text from elsewhere, made harmless for a terminal.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}
