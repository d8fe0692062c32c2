package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/permitd/permitd/limiter"
)

// document is a stored policy or entry, as permitd shows it.
type document struct {
	Name       string          `json:"name"` // of a provider
	ID         string          `json:"id"`   // of an entry
	Revision   int64           `json:"revision"`
	Policy     json.RawMessage `json:"policy"`
	Entry      json.RawMessage `json:"entry"`
	RotatedTo  string          `json:"rotated_to"`
	DisabledAt string          `json:"disabled_at"`
	Restarted  []string        `json:"restarted"`
	Misfits    []string        `json:"misfits"`

	etag string
}

// body is the document itself; nil when there is none.
func (d document) body() json.RawMessage {
	if d.Policy != nil {
		return d.Policy
	}
	return d.Entry
}

func providerPath(provider string) string { return "/v1/providers/" + url.PathEscape(provider) }

// listPath is where the entries of a kind are listed.
func listPath(provider string, kind limiter.EntryKind) string {
	return providerPath(provider) + "/" + string(kind) + "s"
}

func entryPath(provider string, kind limiter.EntryKind, name string) string {
	return listPath(provider, kind) + "/" + url.PathEscape(name)
}

// read asks for one document. It is the zero document when there is none.
func (r *remote) read(ctx context.Context, path string) (document, error) {
	a, err := r.get(ctx, path)
	if err != nil {
		return document{}, err
	}
	if p := a.problem(); a.status == http.StatusNotFound && (p.is("unknown-provider") || p.is("not-found")) {
		return document{}, nil
	}
	return r.document(a)
}

// document is the one that an answer holds.
func (r *remote) document(a *answer) (d document, err error) {
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		return d, r.refused(a)
	}
	d.etag = a.header.Get("ETag")
	if json.Unmarshal(a.body, &d) != nil || d.body() == nil || d.etag == "" {
		return document{}, r.foreign()
	}
	return d, nil
}

func (r *remote) foreign() error {
	return fmt.Errorf("%s answers, but not as permitd does: is --url right?", r.base)
}

// page asks for one page of a list, and where the next begins: "" when it is the last.
func (r *remote) page(ctx context.Context, path, cursor string, size int) (items []document, next string, err error) {
	query := url.Values{"page_size": {strconv.Itoa(size)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	a, err := r.get(ctx, path+"?"+query.Encode())
	if err != nil {
		return nil, "", err
	}
	if a.status != http.StatusOK {
		return nil, "", r.refused(a)
	}
	var list struct {
		Items []document `json:"items"`
		Next  string     `json:"next_cursor"`
	}
	if json.Unmarshal(a.body, &list) != nil || list.Items == nil || list.Next != "" && list.Next == cursor {
		return nil, "", r.foreign()
	}
	for _, d := range list.Items {
		if d.body() == nil {
			return nil, "", r.foreign()
		}
	}
	return list.Items, list.Next, nil
}

// Lengths of pages: policies are larger than entries.
const (
	policyPage = 50
	entryPage  = 1000
)

// each calls do with every item of a list, a page in memory at a time.
func (r *remote) each(ctx context.Context, path string, size int, do func(document) error) error {
	for cursor := ""; ; {
		items, next, err := r.page(ctx, path, cursor, size)
		if err != nil {
			return err
		}
		for _, d := range items {
			if err := do(d); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// sameJSON reports whether two documents say the same, however they are written.
func sameJSON(a, b []byte) bool {
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	return x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}
