package api

import (
	_ "embed"
	"net/http"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"go.yaml.in/yaml/v3"
)

// openapiSource describes the whole HTTP face. It is written by hand; tests hold it against routes and answers.
//
//go:embed openapi.yaml
var openapiSource []byte

// document answers GET /openapi.json.
func (s *Server) document(c echo.Context) error {
	if _, err := query(c); err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-cache")
	return s.written(c, write(c, http.StatusOK, jsonType, s.openapi))
}

// openapiOf is the document, and a newline, with the version of the build in it.
func openapiOf(version string) []byte {
	return []byte(strings.Replace(openapiJSON(), `"VERSION"`, string(quote(nil, version)), 1) + "\n")
}

// openapiJSON is the source in JSON, members in the order in which they are written, which is that of pages made of it.
var openapiJSON = sync.OnceValue(func() string {
	var doc yaml.Node
	if err := yaml.Unmarshal(openapiSource, &doc); err != nil {
		panic(err) // only for a source that no test has seen
	}
	return string(appendYAML(nil, doc.Content[0]))
})

// appendYAML appends a YAML value as JSON.
func appendYAML(dst []byte, n *yaml.Node) []byte {
	switch n.Kind {
	case yaml.MappingNode:
		dst = append(dst, '{')
		for i := 0; i < len(n.Content); i += 2 {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(quote(dst, n.Content[i].Value), ':')
			dst = appendYAML(dst, n.Content[i+1])
		}
		return append(dst, '}')
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, item := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendYAML(dst, item)
		}
		return append(dst, ']')
	case yaml.AliasNode:
		return appendYAML(dst, n.Alias)
	}
	return appendScalar(dst, n)
}

// appendScalar appends text as a string, also text that is a time to YAML. JSON has the same numbers, true, false and null.
func appendScalar(dst []byte, n *yaml.Node) []byte {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return quote(dst, n.Value)
	}
	return append(dst, n.Value...)
}
