package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// entryRoutes answers for the entries of one kind: /v1/providers/{provider}/keys or …/pools, and what is below.
type entryRoutes struct {
	*Server
	kind  limiter.EntryKind
	list  string // the last part of the path of the list
	param string // the parameter of the path of one
	valid func(string) bool
}

func (s *Server) keys() entryRoutes {
	return entryRoutes{s, limiter.KeyEntry, "keys", "key_id", limiter.ValidKeyID}
}

func (s *Server) pools() entryRoutes {
	return entryRoutes{s, limiter.PoolEntry, "pools", "pool", limiter.ValidName}
}

// page answers GET of the list, by name.
func (s entryRoutes) page(c echo.Context) error {
	provider, err := providerParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "cursor", "page_size")
	if err != nil {
		return err
	}
	after, size, err := page(params, s.list, s.valid)
	if err != nil {
		return err
	}
	found, more, err := s.coordinator.Entries(c.Request().Context(), provider, s.kind, after, size)
	if err != nil {
		return err
	}
	next := ""
	if more {
		next = found[len(found)-1].Name
	}
	text := []byte(`{"items":[`)
	for i, e := range found {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(appendUnreadable(appendEntry(text, e), e.Unreadable), '}')
	}
	text = appendNext(text, s.list, next)
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

// get answers GET of one.
func (s entryRoutes) get(c echo.Context) error {
	id, err := s.id(c)
	if err != nil {
		return err
	}
	if _, err := query(c); err != nil {
		return err
	}
	e, err := s.coordinator.Entry(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return s.versioned(c, version{e.Revision, e.Tag}, func() []byte { return append(appendEntry(nil, e), '}') })
}

// put answers PUT of one.
func (s entryRoutes) put(c echo.Context) error {
	id, e, condition, err := s.edit(c)
	if err != nil {
		return err
	}
	doc, err := readDocument(c.Request(), maxBody, errBodyTooLarge)
	if err != nil {
		return err
	}
	return s.write(c, "put", id, e, condition, func(ctx context.Context, e limiter.Edit) (limiter.StoredEntry, error) {
		return s.coordinator.PutEntry(ctx, id, doc, e)
	})
}

// patch answers PATCH of one.
func (s entryRoutes) patch(c echo.Context) error {
	id, e, condition, err := s.edit(c)
	if err != nil {
		return err
	}
	patch, err := readPatch(c, maxBody, errBodyTooLarge)
	if err != nil {
		return err
	}
	return s.write(c, "patched", id, e, condition, func(ctx context.Context, e limiter.Edit) (limiter.StoredEntry, error) {
		return s.coordinator.PatchEntry(ctx, id, patch, e)
	})
}

// delete answers DELETE of one.
func (s entryRoutes) delete(c echo.Context) error {
	id, e, condition, err := s.edit(c)
	if err != nil {
		return err
	}
	if err := readNothing(c.Request()); err != nil {
		return err
	}
	ctx := c.Request().Context()
	err = condition.write(e, s.entryVersion(ctx, id), func(e limiter.Edit) error {
		return edited(s.coordinator.DeleteEntry(ctx, id, e), "")
	})
	if err != nil {
		return err
	}
	s.audit(c, string(s.kind)+" deleted", id.Provider, id.Name, 0, e)
	c.Response().WriteHeader(http.StatusNoContent)
	return nil
}

// edit reads which entry a request would write, and on which condition.
func (s entryRoutes) edit(c echo.Context) (id limiter.DocID, e limiter.Edit, condition precondition, err error) {
	if id, err = s.id(c); err == nil {
		e, condition, err = readConditionalEdit(c)
	}
	return id, e, condition, err
}

// id is the entry that a request's path names. What stands there may be an API key by mistake: it is not repeated.
func (s entryRoutes) id(c echo.Context) (limiter.DocID, error) {
	provider, err := providerParam(c)
	if err != nil {
		return limiter.DocID{}, err
	}
	name, err := url.PathUnescape(c.Param(s.param))
	if err == nil && s.valid(name) {
		return limiter.DocID{Provider: provider, Kind: s.kind, Name: name}, nil
	}
	detail := "the path must name a pool: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
	if s.kind == limiter.KeyEntry {
		detail = "the path must name a key id, which is k_ and the first 32 lower-case hex digits of the key's SHA-256: make it with permitd key-id, and keep API keys out of URLs"
	}
	return limiter.DocID{}, invalid(limiter.Fault{Detail: detail})
}

// write makes a write of an entry, if its condition holds, and answers with what became of it.
func (s entryRoutes) write(c echo.Context, what string, id limiter.DocID, e limiter.Edit, condition precondition, write func(context.Context, limiter.Edit) (limiter.StoredEntry, error)) error {
	ctx := c.Request().Context()
	var w limiter.StoredEntry
	err := condition.write(e, s.entryVersion(ctx, id), func(e limiter.Edit) (err error) {
		w, err = write(ctx, e)
		return edited(err, "")
	})
	if err != nil {
		return err
	}
	s.audit(c, string(s.kind)+" "+what, id.Provider, w.Name, w.Revision, e)
	return s.wrote(c, id.Provider, w)
}

// wrote answers with an entry that was written.
func (s entryRoutes) wrote(c echo.Context, provider string, w limiter.StoredEntry) error {
	h := c.Response().Header()
	h["Etag"] = []string{version{w.Revision, w.Tag}.etag()}
	status := http.StatusOK
	if w.Created {
		status = http.StatusCreated
		h.Set(echo.HeaderLocation, "/v1/providers/"+provider+"/"+s.list+"/"+w.Name)
	}
	text := appendNoted(appendEntry(nil, w), w.Restarted, w.Misfits)
	return s.written(c, writeJSON(c, status, append(text, '}')))
}

// entryVersion finds out which version of an entry is in force.
func (s *Server) entryVersion(ctx context.Context, id limiter.DocID) func() (version, error) {
	return func() (version, error) {
		e, err := s.coordinator.Entry(ctx, id)
		if errors.Is(err, limiter.ErrUnknownEntry) {
			return version{}, nil
		}
		return version{e.Revision, e.Tag}, err
	}
}

// appendEntry appends an entry's JSON but for the closing brace.
func appendEntry(dst []byte, e limiter.StoredEntry) []byte {
	dst = append(dst, `{"id":`...)
	dst = plain(dst, e.Name)
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendInt(dst, e.Revision, 10)
	dst = append(dst, `,"entry":`...)
	dst = append(dst, e.Entry.Body()...)
	if e.RotatedTo != "" {
		dst = append(dst, `,"rotated_to":`...)
		dst = plain(dst, e.RotatedTo)
		dst = append(dst, `,"disabled_at":`...)
		dst = appendTime(dst, e.ExpiresAt)
	}
	return dst
}
