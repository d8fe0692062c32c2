package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// documentRouter finds operations in the document, in which all that answers consist of is closed: they have the members
// that it names and no others.
var documentRouter = sync.OnceValue(func() routers.Router {
	var doc map[string]any
	if err := json.Unmarshal(openapiOf("test"), &doc); err != nil {
		panic(err)
	}
	delete(doc, "servers") // whatever the address
	closing{doc["components"].(map[string]any)["schemas"].(map[string]any)}.document(doc)
	parsed, err := openapi3.NewLoader().LoadFromData(must(json.Marshal(doc)))
	if err != nil {
		panic(err)
	}
	return must(legacy.NewRouter(parsed, openapi3.DisableExamplesValidation()))
})

// conform checks an answer of a server against the document, and a request that succeeded too. Every test that uses a
// remote does so.
func conform(t testing.TB, s *Server, req *http.Request, body string, a answer) {
	t.Helper()
	if a.status == http.StatusRequestHeaderFieldsTooLarge {
		return // which net/http answers by itself
	}
	conformAlways(t, req, a)
	at, params, err := operationOf(req)
	if err != nil {
		conformUnrouted(t, req, a, err)
		return
	}
	if !hasOperation(s, at) {
		conformUnrouted(t, req, a, &routers.RouteError{Reason: "is of another surface"})
		return
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: at,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if a.status < 300 && !strings.Contains(a.text, "invalid-request") { // which an element of a batch may be
		if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil {
			t.Errorf("%s %s succeeded; the document does not allow it: %v\n%s", req.Method, req.URL.Path, err, body)
		}
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader([]byte(a.text))),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: notForSchemas(a.header.Get("Content-Type"))},
	})
	if err != nil {
		t.Errorf("%s %s: %d is not as documented: %v\n%s", req.Method, req.URL.Path, a.status, err, a.text)
	}
	conformHeaders(t, req, at.Operation.Responses.Status(a.status), a)
}

// conformAlways checks what is true of every answer, whatever it is to.
func conformAlways(t testing.TB, req *http.Request, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s %s: %d has %s %q, want %q", req.Method, req.URL.Path, a.status, name, got, want)
		}
	}
	ended := strings.HasSuffix(a.text, "\n") && !strings.HasSuffix(a.text, "\n\n")
	if strings.Contains(a.header.Get("Content-Type"), "json") && req.Method != http.MethodHead && !ended {
		t.Errorf("%s %s: %d does not end with one newline: %q", req.Method, req.URL.Path, a.status, a.text)
	}
}

// operationOf finds the operation that a request is for, and its parameters in the path. A HEAD is for that of GET.
func operationOf(req *http.Request) (*routers.Route, map[string]string, error) {
	find := req.Clone(req.Context())
	find.URL.Path = req.URL.EscapedPath() // an escaped slash separates nothing
	if req.Method == http.MethodHead {
		find.Method = http.MethodGet
	}
	if strings.HasSuffix(find.URL.Path, "/") && find.URL.Path != "/" {
		return nil, nil, &routers.RouteError{Reason: "ends with a slash"} // which the router of the document overlooks
	}
	at, params, err := documentRouter().FindRoute(find)
	if err != nil {
		return nil, nil, err
	}
	for name, value := range params {
		if params[name], err = url.PathUnescape(value); err != nil {
			return nil, nil, err
		}
	}
	return at, params, nil
}

// hasOperation reports whether a server has an operation of the document.
func hasOperation(s *Server, at *routers.Route) bool {
	_, ok := s.needs[route{at.Method, strings.NewReplacer("{", ":", "}", "").Replace(at.Path)}]
	return ok
}

// notForSchemas reports whether bodies of a media type are text of which the document says no more.
func notForSchemas(contentType string) bool {
	return !strings.Contains(contentType, "json")
}

// conformHeaders checks that the document names the headers that tell something.
func conformHeaders(t testing.TB, req *http.Request, documented *openapi3.ResponseRef, a answer) {
	t.Helper()
	for _, name := range []string{
		"RateLimit", "RateLimit-Policy", "Retry-After", "ETag", "Location", "Idempotency-Replayed", "WWW-Authenticate", "Accept-Patch",
	} {
		if a.header.Get(name) == "" || documented == nil {
			continue
		}
		if documented.Value.Headers[name] == nil {
			t.Errorf("%s %s: %d has the header %s, which is not documented", req.Method, req.URL.Path, a.status, name)
		}
	}
}

// conformUnrouted checks the answer to a request that is for no operation: it says so, if it says anything.
func conformUnrouted(t testing.TB, req *http.Request, a answer, err error) {
	t.Helper()
	var missing *routers.RouteError
	if !errors.As(err, &missing) {
		t.Errorf("%s %s: %v", req.Method, req.URL, err)
	}
	ok := false
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		ok = true
	case http.StatusMethodNotAllowed:
		ok = a.header.Get("Allow") != ""
	case http.StatusNoContent:
		ok = req.Method == http.MethodOptions && a.header.Get("Allow") != ""
	}
	if !ok {
		t.Errorf("%s %s is not documented and answers %d", req.Method, req.URL.Path, a.status)
	}
}

// closing closes schemas that stand for what a server sends.
type closing struct{ schemas map[string]any }

func (c closing) document(doc map[string]any) {
	for _, s := range c.schemas {
		c.inner(s)
	}
	c.responses(doc["components"].(map[string]any)["responses"])
	for _, item := range doc["paths"].(map[string]any) {
		for _, op := range item.(map[string]any) {
			if op, ok := op.(map[string]any); ok {
				c.responses(op["responses"])
			}
		}
	}
}

func (c closing) responses(v any) {
	for _, r := range asMap(v) {
		for _, media := range asMap(asMap(r)["content"]) {
			c.whole(asMap(media)["schema"])
		}
	}
}

// whole closes a schema that is not part of another.
func (c closing) whole(v any) {
	s := asMap(v)
	if c.hasMembers(s) {
		s["unevaluatedProperties"] = false
	}
	c.inner(v)
}

// inner closes what is inside a schema.
func (c closing) inner(v any) {
	s := asMap(v)
	if s == nil {
		return
	}
	if ref, ok := s["$ref"]; ok && len(s) > 1 { // the library takes what stands beside a reference for a schema of its own
		delete(s, "$ref")
		s["allOf"] = []any{map[string]any{"$ref": ref}}
	}
	for _, member := range asMap(s["properties"]) {
		c.whole(member)
	}
	c.whole(s["items"])
	c.whole(s["additionalProperties"])
	if s["properties"] != nil {
		return // branches are part of it
	}
	for _, of := range []string{"oneOf", "anyOf"} {
		branches, _ := s[of].([]any)
		for _, b := range branches {
			c.whole(b)
		}
	}
}

// hasMembers reports whether a schema, or what it refers to, names members.
func (c closing) hasMembers(s map[string]any) bool {
	if all, ok := s["allOf"].([]any); ok && slices.ContainsFunc(all, func(v any) bool { return c.hasMembers(asMap(v)) }) {
		return true
	}
	ref, _ := s["$ref"].(string)
	return s["properties"] != nil || ref != "" && c.hasMembers(asMap(c.schemas[strings.TrimPrefix(ref, "#/components/schemas/")]))
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
