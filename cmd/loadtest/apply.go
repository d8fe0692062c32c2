package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter"
)

// applyNote stands in permitd's history beside what a load test wrote.
const applyNote = "loadtest"

// applyPolicies puts the policies of a load in force at a permitd, for the providers that it asks.
func applyPolicies(ctx context.Context, base, token string, p *plan) error {
	for _, docs := range p.policies.Providers {
		if !p.asks(docs.Provider) {
			continue
		}
		if err := applyPolicy(ctx, base, token, docs); err != nil {
			return err
		}
	}
	return nil
}

// applyPolicy puts a policy in force, and the entries of pools and keys that it has.
func applyPolicy(ctx context.Context, base, token string, docs limiter.ProviderDocs) error {
	at := base + "/v1/providers/" + docs.Provider
	if err := put(ctx, at, token, docs.Policy.Body()); err != nil {
		return fmt.Errorf("--apply: %s: %w", docs.Provider, err)
	}
	for _, e := range docs.Entries { // pools first, which keys name
		if err := put(ctx, fmt.Sprintf("%s/%ss/%s", at, e.Entry.Kind, e.Name), token, e.Entry.Body()); err != nil {
			return fmt.Errorf("--apply: %s: %s %s: %w", docs.Provider, e.Entry.Kind, e.Name, err)
		}
	}
	return nil
}

// applyPatience is for how long a permitd that is only starting, or its load balancer, may answer that nobody is ready.
const applyPatience = 10 * time.Second

// put writes a document.
func put(ctx context.Context, at, token string, doc []byte) error {
	for began := time.Now(); ; {
		res, data, err := putOnce(ctx, at, token, doc)
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK || res.StatusCode == http.StatusCreated:
			return nil
		case !unready(res.StatusCode) || time.Since(began) > applyPatience:
			return errors.New(refusedPut(at, res, data))
		}
		if err := sleep(ctx, firstJitter); err != nil {
			return err
		}
	}
}

func putOnce(ctx context.Context, at, token string, doc []byte) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, at+"?note="+applyNote, bytes.NewReader(doc))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	var silent *url.Error
	if errors.As(err, &silent) {
		return nil, nil, fmt.Errorf("no permitd answers at %s: %w", at, silent.Err)
	} else if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res, data, err
}

// refusedPut says what permitd answered to a PUT, and what can be done.
func refusedPut(at string, res *http.Response, data []byte) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	said := at + " answered " + res.Status
	if json.Unmarshal(data, &problem) == nil && problem.Detail != "" {
		said += ": " + strings.TrimSuffix(problem.Detail, ".")
	}
	switch {
	case unready(res.StatusCode):
		said += "; try again when its /readyz says that it is ready"
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		said += "; --token (PERMITD_TOKEN) must be of role operator"
	case res.StatusCode == http.StatusNotFound:
		said += "; the first --permitd must be where policies are written, which is its --admin-addr if it has one"
	}
	return said
}
