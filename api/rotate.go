package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// defaultKeep is for how long a rotated key goes on working, unless a client says otherwise.
const defaultKeep = 24 * time.Hour

// rotate answers POST /v1/providers/{provider}/keys/{key_id}/rotate.
func (s entryRoutes) rotate(c echo.Context) error {
	id, e, condition, err := s.edit(c)
	if err != nil {
		return err
	}
	to, keep, err := readRotation(c.Request(), id.Name)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	var w limiter.StoredEntry
	err = condition.write(e, s.entryVersion(ctx, id), func(e limiter.Edit) (err error) {
		w, err = s.coordinator.RotateKey(ctx, id.Provider, id.Name, to, keep, e)
		return edited(err, "the new key has an entry already, or that of the old one has changed, and nothing was written: GET both; a key is rotated to one without an entry")
	})
	if err != nil {
		return err
	}
	s.audit(c, "key rotated from "+id.Name, id.Provider, w.Name, w.Revision, e)
	w.Created = false // the answer is about what was rotated: 200
	return s.wrote(c, id.Provider, w)
}

// readRotation reads the id of the key that takes the place of another, and for how long that one goes on working.
func readRotation(r *http.Request, from string) (to string, keep time.Duration, err error) {
	keep = defaultKeep
	err = readObject(r, maxBody, errBodyTooLarge, func(o *objectReader) []field {
		return []field{
			{"key", "send the new API key", func(string) (string, error) {
				fault, err := o.key(&to)
				if to == from {
					fault = "is the key that is rotated: send the new one"
				}
				return fault, err
			}},
			{"keep_old_for", "", func(string) (string, error) { return o.duration(&keep, limiter.MaxKeepOld) }},
		}
	})
	return to, keep, err
}

// duration reads a duration as policies have them, from 0 to most.
func (o *objectReader) duration(into *time.Duration, most time.Duration) (fault string, err error) {
	var text string
	if fault, err = o.str(&text); fault != "" || err != nil {
		return fault, err
	}
	d, err := limiter.ParseDuration(text)
	if err != nil || d > most { // what stands there may be a key by mistake: it is not repeated
		return "must be a duration from 0s to " + limiter.FormatDuration(most) + ", such as 90m, 24h or 7d", nil
	}
	*into = d
	return "", nil
}
