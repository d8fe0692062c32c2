package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// putPolicy answers PUT /v1/providers/{provider}.
func (s *Server) putPolicy(c echo.Context) error {
	name, err := newProviderParam(c)
	if err != nil {
		return err
	}
	e, condition, err := readConditionalEdit(c)
	if err != nil {
		return err
	}
	doc, err := readDocument(c.Request(), maxPolicyBody, errPolicyTooLarge)
	if err != nil {
		return err
	}
	p, err := limiter.ParsePolicy(doc)
	if err != nil {
		return err
	}
	return s.writePolicy(c, "policy put", name, e, condition, func(ctx context.Context, e limiter.Edit) (limiter.WrittenPolicy, error) {
		return s.coordinator.PutPolicy(ctx, name, p, e)
	})
}

// patchPolicy answers PATCH /v1/providers/{provider}. Without a condition patches of many writers are made one after the
// other, and none is lost.
func (s *Server) patchPolicy(c echo.Context) error {
	name, err := providerParam(c)
	if err != nil {
		return err
	}
	e, condition, err := readConditionalEdit(c)
	if err != nil {
		return err
	}
	patch, err := readPatch(c, maxPolicyBody, errPolicyTooLarge)
	if err != nil {
		return err
	}
	return s.writePolicy(c, "policy patched", name, e, condition, func(ctx context.Context, e limiter.Edit) (limiter.WrittenPolicy, error) {
		return s.coordinator.PatchPolicy(ctx, name, patch, e)
	})
}

// deletePolicy answers DELETE /v1/providers/{provider}.
func (s *Server) deletePolicy(c echo.Context) error {
	name, err := providerParam(c)
	if err != nil {
		return err
	}
	e, condition, err := readConditionalEdit(c)
	if err != nil {
		return err
	}
	if err := readNothing(c.Request()); err != nil {
		return err
	}
	ctx := c.Request().Context()
	err = condition.write(e, s.policyVersion(ctx, name), func(e limiter.Edit) error {
		return edited(s.coordinator.DeletePolicy(ctx, name, e), "")
	})
	if err != nil {
		return err
	}
	s.audit(c, "policy deleted", name, "", 0, e)
	c.Response().WriteHeader(http.StatusNoContent)
	return nil
}

// writePolicy makes a write of a policy, if its condition holds, and answers with what became of it.
func (s *Server) writePolicy(c echo.Context, what, name string, e limiter.Edit, condition precondition, write func(context.Context, limiter.Edit) (limiter.WrittenPolicy, error)) error {
	ctx := c.Request().Context()
	var w limiter.WrittenPolicy
	err := condition.write(e, s.policyVersion(ctx, name), func(e limiter.Edit) (err error) {
		w, err = write(ctx, e)
		return edited(err, "")
	})
	if err != nil {
		return err
	}
	s.audit(c, what, name, "", w.Revision, e)
	h := c.Response().Header()
	h["Etag"] = []string{version{w.Revision, w.Tag}.etag()}
	status := http.StatusOK
	if w.Created {
		status = http.StatusCreated
		h.Set(echo.HeaderLocation, "/v1/providers/"+name)
	}
	text := appendNoted(appendPolicy(nil, w.PolicyDoc), w.Restarted, w.Misfits)
	return s.written(c, writeJSON(c, status, append(text, '}')))
}

// appendNoted appends which counters a write started afresh, and which limits overrides do not fit, if there are any.
func appendNoted(dst []byte, restarted, misfits []string) []byte {
	if len(restarted) > 0 {
		dst = appendNames(append(dst, `,"restarted":`...), restarted)
	}
	if len(misfits) > 0 {
		dst = appendNames(append(dst, `,"misfits":`...), misfits)
	}
	return dst
}

// policyVersion finds out which version of a policy is in force.
func (s *Server) policyVersion(ctx context.Context, name string) func() (version, error) {
	return func() (version, error) {
		d, err := s.coordinator.Policy(ctx, name)
		if errors.Is(err, limiter.ErrUnknownProvider) {
			return version{}, nil
		}
		return version{d.Revision, d.Tag}, err
	}
}

// newProviderParam is providerParam for a provider that need not be there: a name that can't be one is told.
func newProviderParam(c echo.Context) (string, error) {
	name, err := url.PathUnescape(c.Param("provider"))
	if err != nil || !limiter.ValidName(name) {
		return "", invalid(limiter.Fault{Detail: "the path must end with the name of a provider: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"})
	}
	return name, nil
}
