package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// reset answers POST /v1/providers/{provider}/reset.
func (s *Server) reset(c echo.Context) error {
	provider, err := providerParam(c)
	if err != nil {
		return err
	}
	e, err := readPlainEdit(c)
	if err != nil {
		return err
	}
	q, err := readReset(c.Request())
	if err != nil {
		return err
	}
	q.Provider = provider
	limits, revision, err := s.coordinator.Reset(c.Request().Context(), q, e)
	if err != nil {
		return edited(err, "")
	}
	s.audit(c, "usage reset", provider, q.KeyID+q.Pool, revision, e)
	return s.written(c, writeJSON(c, http.StatusOK, appendReset(nil, q, limits, revision)))
}

// readReset reads whose usage is to be forgotten.
func readReset(r *http.Request) (q limiter.ResetQuery, err error) {
	err = readObject(r, maxBody, errBodyTooLarge, func(o *objectReader) []field {
		return []field{
			{"key_id", "", func(string) (string, error) {
				fault, err := o.str(&q.KeyID)
				if fault == "" && !limiter.ValidKeyID(q.KeyID) {
					fault = "a key id is k_ and the first 32 lower-case hex digits of the key's SHA-256: make it with permitd key-id"
				}
				return fault, err
			}},
			{"pool", "", func(string) (string, error) {
				fault, err := o.str(&q.Pool)
				if fault == "" && !limiter.ValidName(q.Pool) {
					fault = "must be the name of a pool: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
				}
				return fault, err
			}},
			{"limits", "", func(at string) (string, error) {
				fault, err := o.strs(at, limiter.MaxLimits, &q.Limits)
				if fault != "" {
					fault += "; leave it out to reset every limit of the scope"
				}
				return fault, err
			}},
			{"all_keys", "", func(string) (string, error) { return o.boolean(&q.All) }},
		}
	})
	return q, err
}

func appendReset(dst []byte, q limiter.ResetQuery, limits []string, revision int64) []byte {
	dst = append(dst, `{"provider":`...)
	dst = plain(dst, q.Provider)
	if q.KeyID != "" {
		dst = append(dst, `,"key_id":`...)
		dst = plain(dst, q.KeyID)
	}
	if q.Pool != "" {
		dst = append(dst, `,"pool":`...)
		dst = plain(dst, q.Pool)
	}
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendInt(dst, revision, 10)
	dst = append(dst, `,"reset":`...)
	dst = appendNames(dst, limits)
	return append(dst, '}')
}
