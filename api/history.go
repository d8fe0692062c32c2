package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// history answers GET /v1/providers/{provider}/history, newest first.
func (s *Server) history(c echo.Context) error {
	provider, err := providerParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "cursor", "page_size")
	if err != nil {
		return err
	}
	after, size, err := page(params, "history", isRevision)
	if err != nil {
		return err
	}
	before, _ := strconv.ParseInt(after, 10, 64) // 0 on the first page
	items, oldest, err := s.coordinator.History(c.Request().Context(), provider, before, size)
	if err != nil {
		return err
	}
	next := ""
	if n := len(items); n > 0 && items[n-1].Revision > oldest {
		next = strconv.FormatInt(items[n-1].Revision, 10)
	}
	text := []byte(`{"items":[`)
	for i, item := range items {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendHistoryItem(text, item)
	}
	text = appendNext(text, "history", next)
	c.Response().Header().Set("Cache-Control", "no-store")
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

func isRevision(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && n > 0 && strconv.FormatInt(n, 10) == s
}

func appendHistoryItem(dst []byte, item limiter.HistoryItem) []byte {
	dst = append(dst, `{"revision":`...)
	dst = strconv.AppendInt(dst, item.Revision, 10)
	dst = append(dst, `,"at":`...)
	dst = appendTime(dst, item.At)
	dst = append(dst, `,"by":`...)
	dst = quoteOrNull(dst, item.By)
	dst = append(dst, `,"note":`...)
	dst = quoteOrNull(dst, item.Note)
	dst = append(dst, `,"patch":`...)
	if len(item.Patch) == 0 {
		dst = append(dst, "null"...)
	}
	dst = append(dst, item.Patch...)
	return append(dst, '}')
}

// rollback answers POST /v1/providers/{provider}/rollback.
func (s *Server) rollback(c echo.Context) error {
	name, err := providerParam(c)
	if err != nil {
		return err
	}
	e, condition, err := readConditionalEdit(c)
	if err != nil {
		return err
	}
	revision, err := readRollback(c.Request())
	if err != nil {
		return err
	}
	what := fmt.Sprintf("policy rolled back to revision %d", revision)
	err = s.writePolicy(c, what, name, e, condition, func(ctx context.Context, e limiter.Edit) (limiter.WrittenPolicy, error) {
		return s.coordinator.Rollback(ctx, name, revision, e)
	})
	if errors.Is(err, limiter.ErrUnknownRevision) {
		return s.notKept(c, name, revision, err)
	}
	return err
}

// readRollback reads the revision to go back to.
func readRollback(r *http.Request) (revision int64, err error) {
	err = readObject(r, maxBody, errBodyTooLarge, func(o *objectReader) []field {
		return []field{{"revision", "name one that GET …/history lists", func(string) (string, error) {
			return o.whole(&revision, 1, math.MaxInt64)
		}}}
	})
	return revision, err
}

// notKept says which revisions are kept, where that of a rollback is not, or is one without a policy.
func (s *Server) notKept(c echo.Context, provider string, revision int64, err error) error {
	last, oldest, histErr := s.coordinator.History(c.Request().Context(), provider, 0, 1)
	if histErr != nil || len(last) == 0 {
		return err
	}
	newest := last[0].Revision
	p := problemOf(err)
	p.detail = fmt.Sprintf("revision %d is not kept, those from %d to %d are: choose one that GET …/history lists", revision, oldest, newest)
	if revision >= oldest && revision <= newest {
		p.detail = fmt.Sprintf("at revision %d the provider was deleted, so that there is no policy to go back to: choose another that GET …/history lists", revision)
	}
	return p
}

func quoteOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return quote(dst, s)
}
