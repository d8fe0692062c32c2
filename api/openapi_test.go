package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/permitd/permitd/limiter"
)

// openRoutes are those that need no token.
var openRoutes = []string{"GET /", "GET /healthz", "GET /readyz", "GET /docs", "GET /docs/{file}"}

// loadDocument is the document that a server answers with.
func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	return parseDocument(t, []byte(serveTiers(t).get("/openapi.json").text))
}

func serveTiers(t *testing.T) *remote {
	t.Helper()
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	return serve(t, s)
}

func parseDocument(t *testing.T, text []byte) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestDocumentIsOpenAPI: it is valid, and so is each of its examples by the schema that it stands beside.
func TestDocumentIsOpenAPI(t *testing.T) {
	doc := loadDocument(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "(devel)" {
		t.Errorf("OpenAPI %s, version %s", doc.OpenAPI, doc.Info.Version)
	}
	s := New(limiter.New(nil), Options{Version: `v1.2.3-"quoted"`})
	if v := parseDocument(t, s.openapi).Info.Version; v != `v1.2.3-"quoted"` {
		t.Errorf("version %s", v)
	}
}

// TestDocumentHasEveryRoute: what is routed is documented, and the reverse, with the same access.
func TestDocumentHasEveryRoute(t *testing.T) {
	documented := map[string]*openapi3.Operation{}
	for path, item := range loadDocument(t).Paths.Map() {
		for method, op := range item.Operations() {
			documented[method+" "+path] = op
		}
	}
	s, _ := newTestServer(t, nil)
	routed := map[string]bool{}
	param := regexp.MustCompile(`:(\w+)`)
	for _, r := range s.echo.Routes() {
		method := strings.Replace(r.Method, "HEAD", "GET", 1) // a HEAD goes with every GET
		routed[method+" "+param.ReplaceAllString(r.Path, "{$1}")] = true
	}
	for _, name := range slices.Sorted(maps.Keys(routed)) {
		if documented[name] == nil {
			t.Errorf("%s is routed and not documented", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if !routed[name] {
			t.Errorf("%s is documented and not routed", name)
		}
		checkAccess(t, name, documented[name])
	}
}

// checkAccess checks that an operation says who may call it, and how it refuses others.
func checkAccess(t *testing.T, name string, op *openapi3.Operation) {
	t.Helper()
	if open := op.Security != nil && len(*op.Security) == 0; open != slices.Contains(openRoutes, name) {
		t.Errorf("%s: open to all: %v", name, open)
	} else if open {
		return
	}
	want := "viewer"
	method, path, _ := strings.Cut(name, " ")
	switch {
	case strings.HasPrefix(path, "/v1/permits"):
		want = "permits"
	case method != "GET" && !strings.HasSuffix(path, "/preview"): // which writes nothing
		want = "operator"
	}
	if role := op.Extensions["x-role"]; role != want {
		t.Errorf("%s: x-role %v, want %s", name, role, want)
	}
	for _, status := range []int{401, 403, 429} {
		if op.Responses.Status(status) == nil {
			t.Errorf("%s has no %d", name, status)
		}
	}
	if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 {
		t.Errorf("%s: operationId %q, summary %q, tags %q", name, op.OperationID, op.Summary, op.Tags)
	}
}

// TestExampleDocuments: every policy and every entry in an example is one that permitd takes.
func TestExampleDocuments(t *testing.T) {
	doc := loadDocument(t)
	schemas := doc.Components.Schemas
	found := exampleDocs{t: t, doc: parsePolicy(t, marshal(t, schemas["Policy"].Value.Examples[0]))}
	for _, e := range schemas["Policy"].Value.Examples {
		found.policy("Policy", e)
	}
	for _, e := range schemas["KeyEntry"].Value.Examples {
		found.entry("KeyEntry", limiter.KeyEntry, e)
	}
	for _, e := range schemas["PoolEntry"].Value.Examples {
		found.entry("PoolEntry", limiter.PoolEntry, e)
	}
	var all any
	text, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	decode(t, string(text), &all)
	found.examples("", all)
	if found.policies < 4 || found.entries < 4 {
		t.Errorf("found %d policies and %d entries", found.policies, found.entries)
	}
}

// exampleDocs finds policies and entries in examples and has them parsed.
type exampleDocs struct {
	t                 *testing.T
	doc               *limiter.Policy // what entries are checked against
	policies, entries int
}

// examples looks for examples in a part of the document.
func (d *exampleDocs) examples(at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if name == "example" || name == "examples" {
				d.within(at+"/"+name, member)
			}
			d.examples(at+"/"+name, member)
		}
	case []any:
		for i, item := range v {
			d.examples(fmt.Sprint(at, "/", i), item)
		}
	}
}

// within looks for policies and entries in an example.
func (d *exampleDocs) within(at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			switch id, _ := v["id"].(string); {
			case name == "policy":
				d.policy(at, member)
			case name == "entry" && limiter.ValidKeyID(id):
				d.entry(at, limiter.KeyEntry, member)
			case name == "entry":
				d.entry(at, limiter.PoolEntry, member)
			}
			d.within(at+"/"+name, member)
		}
	case []any:
		for i, item := range v {
			d.within(fmt.Sprint(at, "/", i), item)
		}
	}
}

func (d *exampleDocs) policy(at string, v any) {
	d.policies++
	if _, err := limiter.ParsePolicy([]byte(marshal(d.t, v))); err != nil {
		d.t.Errorf("%s: %v", at, err)
	}
}

func (d *exampleDocs) entry(at string, kind limiter.EntryKind, v any) {
	d.entries++
	if _, err := limiter.ParseEntry(kind, []byte(marshal(d.t, v)), d.doc); err != nil {
		d.t.Errorf("%s: %v", at, err)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentKeepsOrder: pages made of the document show things in the order in which they are written.
func TestDocumentKeepsOrder(t *testing.T) {
	text := openapiJSON()
	last := -1
	for _, part := range []string{`"openapi":"3.1.0"`, `"/v1/permits":`, `"/v1/permits/batch":`, `"/v1/providers":`, `"/metrics":`, `"components":`} {
		at := strings.Index(text, part)
		if at <= last {
			t.Errorf("%s is at %d, after %d", part, at, last)
		}
		last = at
	}
}
