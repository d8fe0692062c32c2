package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// settle answers POST /v1/permits/{permit_id}/settle.
func (s *Server) settle(c echo.Context) error {
	ask, err := readSome(c.Request(), settleMembers, limiter.Fault{
		Pointer: "/cost", Detail: "is missing: name the units that the call took, or send {} to keep what was reserved",
	})
	if err != nil {
		return err
	}
	done, err := s.coordinator.Settle(c.Request().Context(), permitParam(c), ask.Cost)
	return s.closed(c, done, err,
		"the permit was cancelled and its cost refunded, so it can't be settled: if the call was made after all, ask for a new permit with what it took")
}

// cancel answers POST /v1/permits/{permit_id}/cancel. It takes an empty body too, of whatever media type.
func (s *Server) cancel(c echo.Context) error {
	if err := readNothing(c.Request()); err != nil {
		return err
	}
	done, err := s.coordinator.Cancel(c.Request().Context(), permitParam(c))
	return s.closed(c, done, err,
		"the permit was settled, so it can't be cancelled: there is nothing left to do; settling it again shows what was charged")
}

// extend answers POST /v1/permits/{permit_id}/extend.
func (s *Server) extend(c echo.Context) error {
	ask, err := readSome(c.Request(), extendMembers, limiter.Fault{
		Pointer: "/ttl_ms", Detail: "is missing: say in how many milliseconds from now the permit may expire at the earliest",
	})
	if err != nil {
		return err
	}
	id := permitParam(c)
	expires, err := s.coordinator.ExtendHold(c.Request().Context(), id, ask.TTL)
	if err != nil {
		return &holdError{err,
			"the permit was settled or cancelled, or has expired, so it can't be extended: ask for a new one; one that has only expired can still be settled"}
	}
	text := append([]byte(`{"permit_id":`), plain(nil, id)...)
	text = append(text, `,"expires_at":`...)
	text = append(appendTime(text, expires), '}')
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

// closed answers with what closing a permit did, or with an error, in these words where it was closed otherwise.
func (s *Server) closed(c echo.Context, done *limiter.Settlement, err error, otherwise string) error {
	if err != nil {
		return &holdError{err, otherwise}
	}
	s.metrics.closed(done)
	return s.written(c, writeJSON(c, http.StatusOK, appendSettlement(nil, done)))
}

func appendSettlement(dst []byte, s *limiter.Settlement) []byte {
	dst = append(dst, `{"permit_id":`...)
	dst = plain(dst, s.PermitID)
	dst = append(dst, `,"state":`...)
	dst = plain(dst, s.Status.String())
	dst = append(dst, `,"adjusted":`...)
	dst = appendByName(dst, s.Adjusted)
	dst = append(dst, `,"uncharged":`...)
	dst = appendByName(dst, s.Uncharged)
	dst = append(dst, `,"late":`...)
	dst = strconv.AppendBool(dst, s.Late)
	dst = append(dst, `,"ignored_units":`...)
	dst = appendNames(dst, s.IgnoredUnits)
	return append(dst, '}')
}

// appendByName appends an object in the order of its names, so that the same answer is the same text.
func appendByName(dst []byte, units map[string]int64) []byte {
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(units)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(plain(dst, name), ':')
		dst = strconv.AppendInt(dst, units[name], 10)
	}
	return append(dst, '}')
}

// permitParam is the permit id in a request's path, whatever it is: the coordinator knows none that is malformed.
func permitParam(c echo.Context) string {
	id, _ := url.PathUnescape(c.Param("permit_id"))
	return id
}

// readSome reads a body that has one of the members of an ask and no others. missing is what is wrong without it. The
// members are not checked further, which the coordinator sees to.
func readSome(r *http.Request, known memberSet, missing limiter.Fault) (ask limiter.Ask, err error) {
	b, err := readBody(r, maxBody, errBodyTooLarge)
	if err != nil {
		return ask, err
	}
	defer b.release()
	err = b.readWhole(&askReader{ask: &ask, known: known, missing: missing})
	return ask, err
}

// readNothing reads a body that is empty, or an object without members.
func readNothing(r *http.Request) error {
	b, err := readText(r, maxBody, errBodyTooLarge)
	if err != nil {
		return err
	}
	defer b.release()
	if b.text.Len() == 0 {
		return nil
	}
	if err := checkMediaType(r.Header); err != nil {
		return err
	}
	return b.readWhole(&askReader{ask: &limiter.Ask{}, known: cancelMembers})
}

// holdError is an error of what is done to a hold. Its problems speak of other things than those of an ask.
type holdError struct {
	error
	closed string // what to do where the permit is closed
}

func (e *holdError) Unwrap() error { return e.error }

// detail is what a problem says of a hold.
func (e *holdError) detail(p *problem) string {
	switch p.status {
	case http.StatusConflict:
		return e.closed
	case http.StatusServiceUnavailable:
		return "permitd can't tell whether this was done: send it again after Retry-After; it is never done twice"
	}
	return p.detail
}
