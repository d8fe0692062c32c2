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
)

func trimSlashes(urls []string) []string {
	trimmed := make([]string, len(urls))
	for i, u := range urls {
		trimmed[i] = strings.TrimRight(u, "/")
	}
	return trimmed
}

// policyDiffers says which of the permitd given have another policy, or other pools of keys, than the replay is made for. One
// that does not answer is an error.
func policyDiffers(ctx context.Context, c *replayCmd, p *plan) (warnings []string, err error) {
	var want any
	for _, docs := range p.policies.Providers {
		if docs.Provider == p.provider {
			_ = json.Unmarshal(docs.Policy.Body(), &want) // was checked before
		}
	}
	for _, base := range trimSlashes(c.Permitd) {
		at := base + "/v1/providers/" + p.provider
		var running struct {
			Policy any `json:"policy"`
		}
		err := read(ctx, at, c.Token, &running)
		var silent *url.Error
		switch {
		case errors.As(err, &silent):
			return nil, fmt.Errorf("no permitd answers at %s: %w", base, silent.Err)
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s: the policy in force can't be read (%v)", base, err))
			continue
		case !reflect.DeepEqual(running.Policy, want):
			warnings = append(warnings, fmt.Sprintf("%s has another policy for %s than this replay is made for; start it with the output of --print-policy", base, p.provider))
			continue
		}
		switch differ, err := p.poolsDiffer(ctx, at, c.Token); {
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s: the pools of keys can't be read (%v)", base, err))
		case differ:
			warnings = append(warnings, fmt.Sprintf("%s has other pools of keys for %s than this replay is made for; bring it in line by permitd apply with the output of --print-policy", base, p.provider))
		}
	}
	return warnings, nil
}

// poolsDiffer reports whether the provider at a running permitd lacks pools of keys that the replay is made for.
func (p *plan) poolsDiffer(ctx context.Context, at, token string) (bool, error) {
	missing := maps.Clone(p.pools)
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

// read asks a running permitd.
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
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	return err
}
