package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

const indexPath = "/"

// indexed is a path that the index names.
type indexed struct{ name, path, what string }

// indexOf is what GET / names of a surface: where a newcomer goes on. It says nothing that is not in every copy of
// permitd.
func indexOf(surface Surface) []indexed {
	var list []indexed
	if surface != PermitsOnly {
		list = append(list,
			indexed{"docs", docsPath, "the HTTP reference, to read and to try out"},
			indexed{"openapi", "/openapi.json", "the same as OpenAPI 3.1"},
			indexed{"providers", "/v1/providers", "the policies"},
			indexed{"metrics", "/metrics", "figures for Prometheus"})
	}
	if surface != AllButPermits {
		list = append(list, indexed{"permits", permitsPath, "POST here to ask for a permit"})
	}
	return append(list,
		indexed{"health", healthPath, "whether the process answers"},
		indexed{"ready", readyPath, "whether permits can be answered"})
}

// index answers GET /, with a page for browsers and JSON for all others.
func (s *Server) index(surface Surface) echo.HandlerFunc {
	doc, page := `{"name":"permitd"`, `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>permitd</title>
<link rel="icon" href="data:,">
<h1>permitd</h1>
<ul>
`
	for _, at := range indexOf(surface) {
		doc += `,"` + at.name + `":"` + at.path + `"`
		page += `<li><a href="` + at.path[1:] + `">` + at.path + "</a>: " + at.what + "\n"
	}
	doc, page = doc+"}\n", page+"</ul>\n</html>\n"
	return func(c echo.Context) error {
		h := c.Response().Header()
		setDocsHeaders(h)
		h.Set("Vary", "Accept")
		if strings.Contains(c.Request().Header.Get("Accept"), "text/html") {
			return s.written(c, write(c, http.StatusOK, htmlType, []byte(page)))
		}
		return s.written(c, write(c, http.StatusOK, jsonType, []byte(doc)))
	}
}
