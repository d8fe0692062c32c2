package api

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// buffers hold answers while they are put together.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// maxPooled is the largest buffer that is kept for the next request.
const maxPooled = 128 << 10

// giveBack keeps what became of a buffer that was taken from buffers.
func giveBack(b *[]byte, used []byte) {
	if cap(used) <= maxPooled {
		*b = used[:0]
		buffers.Put(b)
	}
}

// The values of Content-Type. They are shared between answers, never changed.
var (
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
)

// writeJSON sends an answer in JSON and a newline, which it appends to the body: that must not be shared.
func writeJSON(c echo.Context, status int, body []byte) error {
	return write(c, status, jsonType, append(body, '\n'))
}

// writeProblem is writeJSON for a problem document.
func writeProblem(c echo.Context, status int, body []byte) error {
	return write(c, status, problemType, append(body, '\n'))
}

// write sends an answer whole.
func write(c echo.Context, status int, contentType []string, body []byte) error {
	w := c.Response()
	h := w.Header()
	h["Content-Type"] = contentType
	if len(body) > 1<<10 { // net/http sees to it for short answers, and would send long ones in chunks
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

// appendDecision appends a decision's JSON: the members that grants and denials share, and after them those that make a
// denial a problem document. withStatus gives a grant its status too, which tells the elements of a batch apart.
func appendDecision(dst []byte, d *limiter.Decision, withStatus bool) []byte {
	dst = append(dst, `{"allowed":`...)
	dst = strconv.AppendBool(dst, d.Allowed)
	dst = append(dst, `,"provider":`...)
	dst = plain(dst, d.Provider)
	dst = append(dst, `,"key_id":`...)
	dst = plain(dst, d.KeyID)
	dst = append(dst, `,"pool":`...)
	dst = plainOrNull(dst, d.Pool)
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendInt(dst, d.Revision, 10)
	dst = append(dst, `,"degraded":`...)
	dst = strconv.AppendBool(dst, d.Degraded)
	dst = appendCountedAs(dst, d.CountedAs())
	if d.PermitID != "" {
		dst = append(dst, `,"permit_id":`...)
		dst = plain(dst, d.PermitID)
		dst = append(dst, `,"expires_at":`...)
		dst = appendTime(dst, d.Expires)
	}
	dst = append(dst, `,"limits":[`...)
	for i := range d.Limits {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendLimit(dst, &d.Limits[i])
	}
	dst = append(dst, `],"ignored_units":`...)
	dst = appendNames(dst, d.IgnoredUnits)
	switch {
	case !d.Allowed:
		dst = appendDenial(dst, d)
	case withStatus:
		dst = append(dst, `,"status":200`...)
		if d.Replayed {
			dst = append(dst, `,"idempotency_replayed":true`...)
		}
	}
	return append(dst, '}')
}

func appendDenial(dst []byte, d *limiter.Decision) []byte {
	violated := d.Violated()
	dst = append(dst, `,"type":"`+quotaExceeded+`","title":"Quota exceeded","status":429,"detail":`...)
	dst = quote(dst, denialDetail(violated, d.RetryAfter))
	dst = append(dst, `,"retry_after_ms":`...)
	dst = appendMillis(dst, d.RetryAfter)
	dst = append(dst, `,"violated-policies":`...)
	return appendNames(dst, violated)
}

// denialDetail says who refused and when to come back.
func denialDetail(violated []string, wait time.Duration) string {
	what := "limit " + strings.Join(violated, ", ") + " has"
	if len(violated) > 1 {
		what = "limits " + strings.Join(violated, ", ") + " have"
	}
	unit := time.Millisecond
	if wait > 10*time.Second {
		unit = time.Second
	}
	return what + " no room for this cost now and nothing was charged: ask again in " +
		(time.Duration(ceil(wait, unit)) * unit).String()
}

func appendLimit(dst []byte, l *limiter.LimitStatus) []byte {
	dst = append(dst, `{"name":`...)
	dst = plain(dst, l.Name)
	dst = append(dst, `,"scope":`...)
	dst = plain(dst, string(l.Scope))
	dst = append(dst, `,"kind":`...)
	dst = plain(dst, string(l.Kind))
	dst = append(dst, `,"unit":`...)
	dst = plain(dst, l.Unit)
	dst = append(dst, `,"amount":`...)
	dst = strconv.AppendInt(dst, l.Amount, 10)
	dst = append(dst, `,"cost":`...)
	dst = strconv.AppendInt(dst, l.Cost, 10)
	dst = append(dst, `,"remaining":`...)
	dst = strconv.AppendInt(dst, l.Remaining, 10)
	dst = append(dst, `,"reset_ms":`...)
	dst = appendMillis(dst, l.Reset)
	dst = append(dst, `,"retry_after_ms":`...)
	dst = appendMillis(dst, l.RetryAfter)
	dst = append(dst, `,"mode":`...)
	dst = plain(dst, string(l.Mode))
	dst = append(dst, `,"would_deny":`...)
	dst = strconv.AppendBool(dst, l.WouldDeny)
	dst = appendCountedAs(dst, l.CountedAs)
	return append(dst, '}')
}

// appendCountedAs appends the member that says what a key or model is counted with, if it is not counted apart.
func appendCountedAs(dst []byte, other string) []byte {
	if other == "" {
		return dst
	}
	return plain(append(dst, `,"counted_as":`...), other)
}

// appendNames appends an array, [] when there are none.
func appendNames(dst []byte, names []string) []byte {
	dst = append(dst, '[')
	for i, n := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = plain(dst, n)
	}
	return append(dst, ']')
}

// plain appends a JSON string that needs no escapes: names, units, and the ids of keys and permits have been checked to be
// of letters, digits and "._-".
func plain(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func plainOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return plain(dst, s)
}

// appendTime appends a time in UTC, with as much of the microseconds as there is.
func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, `"2006-01-02T15:04:05.999999Z07:00"`)
}

// appendMillis appends a wait in milliseconds, rounded up so that whoever keeps to it is not early.
func appendMillis(dst []byte, d time.Duration) []byte {
	return strconv.AppendInt(dst, ceil(d, time.Millisecond), 10)
}

// ceil is d in whole units, rounded up.
func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit > 0 {
		n++
	}
	return n
}
