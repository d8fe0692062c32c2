package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
)

func trimSlashes(urls []string) []string {
	trimmed := make([]string, len(urls))
	for i, u := range urls {
		trimmed[i] = strings.TrimRight(u, "/")
	}
	return trimmed
}

// policyDiffers says which of the permitd given have another policy than the replay is made for. One that does not answer
// is an error.

func policyDiffers(ctx context.Context, c *replayCmd, p *plan) (warnings []string, err error) {
	var want any
	for _, docs := range p.policies.Providers {
		if docs.Provider == p.provider {
			_ = json.Unmarshal(docs.Policy.Body(), &want) // was checked before
		}
	}
	for _, base := range trimSlashes(c.Permitd) {
		got, err := runningPolicy(ctx, base+"/v1/providers/"+p.provider, c.Token)
		var silent *url.Error
		switch {
		case errors.As(err, &silent):
			return nil, fmt.Errorf("no permitd answers at %s: %w", base, silent.Err)
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s: the policy in force can't be read (%v)", base, err))
		case !reflect.DeepEqual(got, want):
			warnings = append(warnings, fmt.Sprintf("%s has another policy for %s than this replay is made for; start it with the output of --print-policy", base, p.provider))
		}
	}
	return warnings, nil
}

func runningPolicy(ctx context.Context, at, token string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", res.Status)
	}
	var provider struct {
		Policy any `json:"policy"`
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(data, &provider)
	}
	return provider.Policy, err
}
