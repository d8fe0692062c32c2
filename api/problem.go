package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// problem is an answer other than success, as RFC 9457 has it. It is an error, so that handlers just return it. All of
// it is shown to clients; detail says what to do next.
type problem struct {
	status     int
	name       string // the last part of the type
	title      string
	detail     string
	faults     []limiter.Fault
	retryAfter time.Duration // 0: no Retry-After
	challenge  string        // WWW-Authenticate
	revision   int64         // of a failed precondition: the one in force, 0 when there is none
}

const (
	problemBase   = "urn:permitd:problem:"
	quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"
)

func (p *problem) Error() string { return p.name + ": " + p.detail }

// table says what becomes of the errors of package limiter. What is not in it is internal, and no more is told of it.
var table = []struct {
	is error
	problem
}{
	{limiter.ErrInvalid, problem{
		status: http.StatusBadRequest, name: "invalid-request", title: "Invalid request",
		detail: "correct what errors lists and send the request again",
	}},
	{limiter.ErrUnknownProvider, problem{
		status: http.StatusNotFound, name: "unknown-provider", title: "Unknown provider",
		detail: "no policy is stored for this provider: check its name against GET /v1/providers",
	}},
	{limiter.ErrUnknownKey, problem{
		status: http.StatusForbidden, name: "unknown-key", title: "Unknown key",
		detail: "the provider's policy admits registered keys only: register the key, or set unknown_keys to allow",
	}},
	{limiter.ErrUnknownModel, problem{
		status: http.StatusForbidden, name: "unknown-model", title: "Unknown model",
		detail: "no limit of the provider's policy is for this model: check its spelling and case, " +
			"add it to the models of a limit, or set unknown_models to allow",
	}},
	{limiter.ErrKeyDisabled, problem{
		status: http.StatusForbidden, name: "key-disabled", title: "Key disabled",
		detail: "the key, or the pool that it belongs to, is disabled: use another key, or enable it again",
	}},
	{limiter.ErrUnknownPermit, problem{
		status: http.StatusNotFound, name: "unknown-permit", title: "Unknown permit",
		detail: "no hold is kept under this id: check it against the permit_id of the grant; when a hold is long over there is nothing left to do, its cost stays as it was reserved",
	}},
	{limiter.ErrPermitClosed, problem{
		status: http.StatusConflict, name: "permit-closed", title: "Permit closed",
		detail: "the permit was settled or cancelled, or has expired: ask for a new one",
	}},
	{limiter.ErrCostExceedsLimit, problem{
		status: http.StatusUnprocessableEntity, name: "cost-exceeds-limit", title: "Cost exceeds limit",
		detail: "the cost is more than a limit ever admits at once: split the call",
	}},
	{limiter.ErrIdempotencyMismatch, problem{
		status: http.StatusUnprocessableEntity, name: "idempotency-mismatch", title: "Idempotency key was used for another ask",
		detail: "something else was asked for under this idempotency key, and granted: use a new key for a new ask",
	}},
	{limiter.ErrUnknownEntry, problem{
		status: http.StatusNotFound, name: "not-found", title: "No such entry",
		detail: "nothing is stored for this key or pool: check its name against the list of them, or create it with PUT",
	}},
	{limiter.ErrUnknownRevision, problem{
		status: http.StatusNotFound, name: "not-found", title: "No such revision",
		detail: "this revision is not kept: choose one that GET …/history lists",
	}},
	{limiter.ErrConflict, problem{
		status: http.StatusPreconditionFailed, name: "precondition-failed", title: "Precondition failed",
		detail: "what is stored is not what this write was made for, and nothing was written: GET it, see what changed, and send the write again with the ETag of that as If-Match",
	}},
	{limiter.ErrStoreUnavailable, problem{
		status: http.StatusServiceUnavailable, name: "store-unavailable", title: "Store unavailable",
		detail: "permitd can't reach its store and nothing was charged: ask again after Retry-After", retryAfter: time.Second,
	}},
	{limiter.ErrUnreadable, problem{ // detailOf names the document and the cause
		status: http.StatusServiceUnavailable, name: "store-unavailable", title: "Stored document can't be read", retryAfter: 10 * time.Second,
	}},
	{limiter.ErrOverloaded, problem{
		status: http.StatusServiceUnavailable, name: "overloaded", title: "Overloaded",
		detail: "permitd has more to do than it can and nothing was charged: ask again after Retry-After", retryAfter: time.Second,
	}},
	{context.Canceled, problem{ // the client has gone and won't read it; outcomeGone
		status: http.StatusServiceUnavailable, name: "overloaded", title: "Request ended early",
		detail: "the request ended before it was decided and nothing was charged: ask again after Retry-After", retryAfter: time.Second,
	}},
}

var errInternal = &problem{
	status: http.StatusInternalServerError, name: "internal", title: "Internal error",
	detail: "permitd failed to answer and has logged why: tell its operator, and ask again later",
}

// httpProblems are those that the router finds, by status.
var httpProblems = map[int]*problem{
	http.StatusNotFound: {
		status: http.StatusNotFound, name: "not-found", title: "Not found",
		detail: "there is nothing at this path: check it for typing errors and trailing slashes",
	},
	http.StatusMethodNotAllowed: {
		status: http.StatusMethodNotAllowed, name: "method-not-allowed", title: "Method not allowed",
		detail: "this path does not have this method: use one that the Allow header lists",
	},
}

// problemOf is what a client is told of an error.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var h *echo.HTTPError
	if errors.As(err, &h) && httpProblems[h.Code] != nil {
		return httpProblems[h.Code]
	}
	for _, row := range table {
		if errors.Is(err, row.is) {
			p := row.problem
			p.detailOf(err)
			return &p
		}
	}
	return errInternal
}

// detailOf adds what an error knows beyond its kind.
func (p *problem) detailOf(err error) {
	var own detailer
	if errors.As(err, &own) {
		p.detail = own.detail(p)
	}
	var invalid *limiter.InvalidError
	if errors.As(err, &invalid) {
		p.faults = bounded(invalid.Faults)
	}
	var conflict *limiter.ConflictError
	if errors.As(err, &conflict) {
		p.revision = conflict.Revision
	}
	var unreadable *limiter.UnreadableError
	if errors.As(err, &unreadable) {
		p.detail = fmt.Sprintf("this instance can't read %s, revision %d (%s: %s), and decides nothing by it: "+
			"run the version of permitd that wrote it here too, or PUT a document that this one reads",
			unreadable.Doc, unreadable.Revision, unreadable.Cause.Pointer, unreadable.Cause.Detail)
	}
	var cost *limiter.CostError
	if errors.As(err, &cost) {
		p.detail = fmt.Sprintf("the ask costs %d %s, and limit %q never admits more than %d at once: split the call, or raise the limit",
			cost.Cost, cost.Unit, cost.Limit, cost.Most)
	}
}

// detailer is an error whose problem speaks of other things than that of an ask.
type detailer interface {
	error
	detail(p *problem) string
}

// bounded are the first faults of a document: an answer must not be many times as large as what it answers.
func bounded(faults []limiter.Fault) []limiter.Fault {
	if len(faults) <= maxFaults+2 { // as many as the reader of an ask finds
		return faults
	}
	more := limiter.Fault{Detail: fmt.Sprintf("has more faults than these %d; correct them first", maxFaults)}
	return append(faults[:maxFaults:maxFaults], more)
}

func invalid(faults ...limiter.Fault) error { return &limiter.InvalidError{Faults: faults} }

// fail answers with the problem that an error is.
func (s *Server) fail(err error, c echo.Context) {
	p := s.explain(err, c)
	if r, ok := c.(*request); ok && errors.Is(err, context.Canceled) {
		r.gone = true
	}
	if c.Response().Committed {
		return
	}
	if p.retryAfter > 0 {
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.FormatInt(ceil(p.retryAfter, time.Second), 10))
	}
	if p.challenge != "" {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, p.challenge)
	}
	s.written(c, writeProblem(c, p.status, p.append(nil)))
}

// explain is what a client is told of an error; what it is not told is logged.
func (s *Server) explain(err error, c echo.Context) *problem {
	p := problemOf(err)
	switch {
	case p == errInternal:
		s.log.Error("internal error", "route", c.Path(), "error", err)
	case p.status >= http.StatusInternalServerError:
		s.log.Debug("could not decide", "route", c.Path(), "error", err)
	}
	return p
}

// append appends the problem's JSON.
func (p *problem) append(dst []byte) []byte {
	dst = append(dst, `{"type":"`+problemBase...)
	dst = append(dst, p.name...)
	dst = append(dst, `","title":`...)
	dst = quote(dst, p.title)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(p.status), 10)
	dst = append(dst, `,"detail":`...)
	dst = quote(dst, p.detail)
	if p.status == http.StatusPreconditionFailed {
		dst = append(dst, `,"revision":`...)
		if p.revision == 0 {
			dst = append(dst, "null"...)
		} else {
			dst = strconv.AppendInt(dst, p.revision, 10)
		}
	}
	if len(p.faults) > 0 {
		dst = append(dst, `,"errors":[`...)
		for i, f := range p.faults {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"pointer":`...)
			dst = quote(dst, f.Pointer)
			dst = append(dst, `,"detail":`...)
			dst = quote(dst, f.Detail)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// quote appends a JSON string. Invalid UTF-8 becomes U+FFFD.
func quote(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
