package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter/policyfile"
)

func trimSlashes(urls []string) []string {
	trimmed := make([]string, len(urls))
	for i, u := range urls {
		trimmed[i] = strings.TrimRight(u, "/")
	}
	return trimmed
}

// policyDiffers says which of the permitd given have other policies, or other pools of keys, than the load is made for. One
// that does not answer is an error.
func policyDiffers(ctx context.Context, c *loadFlags, p *plan) (warnings []string, err error) {
	advice := "let --apply put it in force, or start it with the output of --print-policy"
	if c.Apply {
		advice = "it shares no Redis with the first --permitd, to which --apply wrote"
	}
	for _, base := range trimSlashes(c.Permitd) {
		for _, pp := range p.providers {
			warning, err := pp.differs(ctx, base+"/v1/providers/"+pp.name, c.Token, p.policies)
			var silent *url.Error
			switch {
			case errors.As(err, &silent):
				return nil, fmt.Errorf("no permitd answers at %s: %w", base, silent.Err)
			case err != nil:
				warnings = append(warnings, fmt.Sprintf("%s: %v", base, err))
			case warning != "":
				warnings = append(warnings, base+" "+warning+": "+advice)
			}
		}
	}
	return warnings, nil
}

// differs says how the provider at a running permitd differs from the policies that the load is made for; "" if not at all.
func (pp *providerPlan) differs(ctx context.Context, at, token string, policies *policyfile.File) (string, error) {
	var want any
	for _, docs := range policies.Providers {
		if docs.Provider == pp.name {
			_ = json.Unmarshal(docs.Policy.Body(), &want) // was checked before
		}
	}
	var running struct {
		Policy any `json:"policy"`
	}
	if err := read(ctx, at, token, &running); errors.Is(err, errNoPolicy) {
		return fmt.Sprintf("has no policy for %s", pp.name), nil
	} else if err != nil {
		return "", fmt.Errorf("the policy in force for %s can't be read (%w)", pp.name, err)
	}
	if !reflect.DeepEqual(running.Policy, want) {
		return fmt.Sprintf("has another policy for %s than this load is made for", pp.name), nil
	}
	switch differ, err := pp.poolsDiffer(ctx, at, token); {
	case err != nil:
		return "", fmt.Errorf("the pools of keys of %s can't be read (%w)", pp.name, err)
	case differ:
		return fmt.Sprintf("has other pools of keys for %s than this load is made for", pp.name), nil
	}
	return "", nil
}

// poolsDiffer reports whether the provider at a running permitd lacks pools of keys that the load is made for.
func (pp *providerPlan) poolsDiffer(ctx context.Context, at, token string) (bool, error) {
	missing := maps.Clone(pp.pools)
	for cursor := ""; len(missing) > 0; {
		var page struct {
			Items []struct {
				ID    string `json:"id"`
				Entry struct {
					Pool string `json:"pool"`
				} `json:"entry"`
			} `json:"items"`
			NextCursor string `json:"next_cursor"`
		}
		if err := read(ctx, at+"/keys?page_size=1000&cursor="+url.QueryEscape(cursor), token, &page); err != nil {
			return false, err
		}
		for _, key := range page.Items {
			if missing[key.ID] == key.Entry.Pool {
				delete(missing, key.ID)
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	return len(missing) > 0, nil
}

// read asks a running permitd about a provider. Where it has no such provider, the error is errNoPolicy.
func read(ctx context.Context, at, token string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusOK:
		return json.Unmarshal(data, into)
	}
	var problem struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &problem) == nil && strings.HasSuffix(problem.Type, ":unknown-provider") {
		return errNoPolicy
	}
	return fmt.Errorf("it answered %s", res.Status)
}

var errNoPolicy = errors.New("there is no such provider")
