package api

import (
	"compress/gzip"
	_ "embed"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v4"
	swagger "github.com/swaggest/swgui/v5/static"
)

const docsPath = "/docs"

// The page is an empty frame: it says nothing that is not in every copy of permitd, and is open to all, as are the files
// that it is made of. What it shows it gets from /openapi.json, with a token that its reader enters where one is needed.
var (
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/docs.js
	docsScript []byte
	//go:embed docs/docs.css
	docsStyle []byte
)

// docsPolicy lets the page load what permitd serves, and nothing from elsewhere. The icons of Swagger UI are data.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs answers GET /docs.
func (s *Server) docs(c echo.Context) error {
	setDocsHeaders(c.Response().Header())
	return s.written(c, write(c, http.StatusOK, htmlType, docsPage))
}

var htmlType = []string{"text/html; charset=utf-8"}

func setDocsHeaders(h http.Header) {
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
}

// docsFile answers GET /docs/{file}: scripts, styles and icons.
func (s *Server) docsFile(c echo.Context) error {
	name := c.Param("file")
	setDocsHeaders(c.Response().Header())
	switch name {
	case "docs.js":
		return s.written(c, write(c, http.StatusOK, []string{"text/javascript; charset=utf-8"}, docsScript))
	case "docs.css":
		return s.written(c, write(c, http.StatusOK, []string{"text/css; charset=utf-8"}, docsStyle))
	case "swagger-ui-bundle.js", "swagger-ui.css":
		return s.packed(c, name)
	case "favicon-32x32.png":
		icon, err := fs.ReadFile(swagger.FS, name)
		if err != nil {
			return err
		}
		return s.written(c, write(c, http.StatusOK, []string{"image/png"}, icon))
	}
	return echo.ErrNotFound
}

// packed answers with a file of Swagger UI, which is compressed in the binary.
func (s *Server) packed(c echo.Context, name string) error {
	file, err := swagger.FS.Open(name + ".gz")
	if err != nil {
		return err
	}
	defer file.Close()
	h := c.Response().Header()
	h.Set("Content-Type", map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}[path.Ext(name)])
	h.Set("Vary", "Accept-Encoding")
	body := io.Reader(file)
	if strings.Contains(c.Request().Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
	} else if body, err = gzip.NewReader(file); err != nil {
		return errors.Join(errors.New("unpack "+name), err)
	}
	c.Response().WriteHeader(http.StatusOK)
	_, err = io.Copy(c.Response(), body)
	return s.written(c, err)
}
