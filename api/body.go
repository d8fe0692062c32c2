package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"syscall"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/permitd/permitd/limiter"
)

// The longest bodies.
const (
	maxBody       = 64 << 10
	maxBatchBody  = 1 << 20
	maxPolicyBody = limiter.MaxPolicySize
	maxKeysBody   = 1 << 20
)

// mergePatchType is the media type of a JSON merge patch.
const mergePatchType = "application/merge-patch+json"

var (
	errBodyTooLarge = &problem{
		status: http.StatusRequestEntityTooLarge, name: "body-too-large", title: "Body too large",
		detail: "the body is at most 64 KiB here: send less",
	}
	errBatchTooLarge = &problem{
		status: http.StatusRequestEntityTooLarge, name: "body-too-large", title: "Body too large",
		detail: "the body of a batch is at most 1 MiB: send the asks in several batches",
	}
	errPolicyTooLarge = &problem{
		status: http.StatusRequestEntityTooLarge, name: "body-too-large", title: "Body too large",
		detail: "a policy, a patch of one or a preview is at most 1 MiB: send less, such as fewer globs in models",
	}
	errKeysTooLarge = &problem{
		status: http.StatusRequestEntityTooLarge, name: "body-too-large", title: "Body too large",
		detail: "the body is at most 1 MiB here: send the keys in several requests",
	}
	errNotJSON = &problem{
		status: http.StatusUnsupportedMediaType, name: "unsupported-media-type", title: "Unsupported media type",
		detail: "the body must be JSON in UTF-8: send Content-Type: application/json",
	}
	errNotMergePatch = &problem{
		status: http.StatusUnsupportedMediaType, name: "unsupported-media-type", title: "Unsupported media type",
		detail: "the body of a PATCH must be a JSON merge patch (RFC 7396) in UTF-8: send Content-Type: " + mergePatchType + ", not application/json; PUT takes that",
	}
	errEncoded = &problem{
		status: http.StatusUnsupportedMediaType, name: "unsupported-media-type", title: "Unsupported content encoding",
		detail: "the body must be sent as it is: leave Content-Encoding out",
	}
)

// body is a request's body and what it takes to read it. Bodies are used again and again.
type body struct {
	text    bytes.Buffer
	limited io.LimitedReader
	dec     jsontext.Decoder
	scratch []byte
}

var bodies = sync.Pool{New: func() any { return new(body) }}

// readBody reads the body of a request for JSON, whose most bytes are the limit of tooLarge. The caller releases it.
func readBody(r *http.Request, most int64, tooLarge *problem) (*body, error) {
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	return readText(r, most, tooLarge)
}

// readText is readBody for whatever media type.
func readText(r *http.Request, most int64, tooLarge *problem) (*body, error) {
	if r.ContentLength > most {
		return nil, tooLarge
	}
	b := bodies.Get().(*body)
	b.limited = io.LimitedReader{R: r.Body, N: most + 1}
	conn := connectionIn(r)
	conn.await()
	n, err := b.text.ReadFrom(&b.limited)
	conn.received(n <= most && err == nil)
	switch {
	case n > most:
		err = tooLarge
	case err != nil:
		left := hasLeft(r, err)
		err = invalid(limiter.Fault{Detail: "the body could not be read to its end: send it whole, and in good time"})
		if left {
			err = fmt.Errorf("%w: %w", context.Canceled, err)
		}
	}
	if err != nil {
		b.release()
		return nil, err
	}
	b.dec.Reset(&b.text, jsontext.AllowDuplicateNames(true)) // duplicates are found and named by their readers
	return b, nil
}

// hasLeft reports whether a body could not be read because the client went away.
func hasLeft(r *http.Request, err error) bool {
	return r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// release makes the body available for other requests. Nothing that was read from it refers to it.
func (b *body) release() {
	if b.text.Cap() > maxPooled {
		return
	}
	b.text.Reset()
	b.limited.R = nil
	bodies.Put(b)
}

func checkMediaType(h http.Header) error { return checkMedia(h, "application/json", errNotJSON) }

// checkMedia checks that a body is of a media type, or else it is wrong.
func checkMedia(h http.Header, want string, wrong *problem) error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return errEncoded
	}
	t := h.Get("Content-Type")
	if t == want {
		return nil
	}
	media, params, err := mime.ParseMediaType(t)
	if err != nil || media != want {
		return wrong
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return wrong
	}
	return nil
}
