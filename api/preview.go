package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

const maxPreview = 100

// preview answers POST /v1/providers/{provider}/preview: how asks would be decided now if this were the policy.
func (s *Server) preview(c echo.Context) error {
	provider, err := providerParam(c)
	if err != nil {
		return err
	}
	if _, err := query(c); err != nil {
		return err
	}
	p, err := readPreview(c.Request(), provider)
	if err != nil {
		return err
	}
	results, err := s.coordinator.Preview(c.Request().Context(), provider, p.policy, p.asks)
	if err != nil {
		return err
	}
	text := []byte(`{"decisions":[`)
	for i, r := range results {
		if i > 0 {
			text = append(text, ',')
		}
		text = s.appendResult(c, text, r)
	}
	return s.written(c, writeJSON(c, http.StatusOK, append(text, "]}"...)))
}

// previewBody is what is to be tried out.
type previewBody struct {
	policy *limiter.Policy // nil: the one in force
	asks   []limiter.Ask   // checked
}

// readPreview reads a policy and asks of a provider, which they need not name.
func readPreview(r *http.Request, provider string) (p previewBody, err error) {
	err = readObject(r, maxPolicyBody, errPolicyTooLarge, func(o *objectReader) []field {
		return []field{
			{"policy", "", func(at string) (fault string, err error) {
				p.policy, err = o.policy(at)
				return "", err
			}},
			{"permits", fmt.Sprintf("send an array of up to %d asks", maxPreview), func(at string) (fault string, err error) {
				p.asks, fault, err = o.asks(at, provider)
				return fault, err
			}},
		}
	})
	return p, err
}

// policy reads a policy document. What is wrong with it is among the faults.
func (o *objectReader) policy(at string) (*limiter.Policy, error) {
	doc, err := o.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	p, err := limiter.ParsePolicy(doc)
	var invalid *limiter.InvalidError
	if errors.As(err, &invalid) {
		o.below(at, invalid.Faults)
	}
	return p, nil
}

// asks reads asks of one provider. What is wrong with each is among the faults.
func (o *objectReader) asks(at, provider string) (asks []limiter.Ask, fault string, err error) {
	allowed := fmt.Sprintf("must be an array of up to %d asks, not ", maxPreview)
	if kind := o.dec.PeekKind(); kind != '[' {
		return nil, allowed + kindName(kind), o.dec.SkipValue()
	}
	n, err := o.items(maxPreview, func(i int) error {
		ask := limiter.Ask{Provider: provider}
		faults, err := (&askReader{ask: &ask, known: askMembers, preview: true}).read(o.body)
		at := at + "/" + strconv.Itoa(i)
		o.below(at, faults)
		if err != nil {
			return err
		}
		var invalid *limiter.InvalidError
		if len(faults) == 0 && errors.As(ask.Validate(), &invalid) {
			o.below(at, invalid.Faults)
		}
		if limiter.ValidName(ask.Provider) && ask.Provider != provider {
			o.fault(at+"/provider", "must be the provider of the path: leave it out")
		}
		asks = append(asks, ask)
		return nil
	})
	if n > maxPreview {
		fault = allowed + "of " + strconv.Itoa(n)
	}
	return asks, fault, err
}
