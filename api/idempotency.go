package api

import (
	"net/http"
	"regexp"

	"github.com/dunglas/httpsfv"

	"github.com/permitd/permitd/limiter"
)

const idempotencyHeader = "Idempotency-Key"

// bareKey is how an idempotency key may be written without quotes, as many clients do.
var bareKey = regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`)

// idempotencyKey is the key that a request carries, "" for none: a quoted string, as
// draft-ietf-httpapi-idempotency-key-header has it, or bare.
func idempotencyKey(h http.Header) (string, error) {
	values := h[idempotencyHeader]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) == 1 {
		if bareKey.MatchString(values[0]) {
			return values[0], nil
		}
		item, err := httpsfv.UnmarshalItem(values)
		if key, isString := item.Value.(string); err == nil && isString && len(key) >= 1 && len(key) <= limiter.MaxIdempotencyKeyLen {
			return key, nil
		}
	}
	return "", invalid(limiter.Fault{Detail: `the Idempotency-Key header must be one quoted string of 1 to 255 characters, such as "8e03978e-40d5", or the same of A-Z a-z 0-9 . _ - without quotes`})
}

// checkNoIdempotencyKey refuses the header where it could only stand for a whole batch.
func checkNoIdempotencyKey(h http.Header) error {
	if len(h[idempotencyHeader]) > 0 {
		return invalid(limiter.Fault{Detail: "a batch has no Idempotency-Key header: give each of its permits an idempotency_key of its own"})
	}
	return nil
}
