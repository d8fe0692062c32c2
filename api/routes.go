package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Surface is a part of the routes. Each has /healthz, /readyz and /.
type Surface uint8

// The surfaces.
const (
	Everything Surface = iota
	PermitsOnly
	AllButPermits
)

func (s *Server) routes(surface Surface) {
	s.get(needsNothing, healthPath, s.health)
	s.get(needsNothing, readyPath, s.ready)
	s.get(needsNothing, indexPath, s.index(surface))
	if surface != AllButPermits {
		s.on(needsPermits, http.MethodPost, permitsPath, s.permit)
		s.on(needsPermits, http.MethodPost, batchPath, s.batch)
		s.on(needsPermits, http.MethodPost, settlePath, s.settle)
		s.on(needsPermits, http.MethodPost, cancelPath, s.cancel)
		s.on(needsPermits, http.MethodPost, extendPath, s.extend)
	}
	if surface != PermitsOnly {
		s.tuningRoutes()
	}
}

// tuningRoutes are what tunes permitd, and shows how things stand.
func (s *Server) tuningRoutes() {
	const one = "/v1/providers/:provider"
	s.get(needsViewer, "/v1/providers", s.providers)
	s.get(needsViewer, one, s.provider)
	s.on(needsOperator, http.MethodPut, one, s.putPolicy)
	s.on(needsOperator, http.MethodPatch, one, s.patchPolicy)
	s.on(needsOperator, http.MethodDelete, one, s.deletePolicy)
	s.get(needsViewer, one+"/usage", s.usage)
	s.on(needsOperator, http.MethodPost, one+"/reset", s.reset)
	s.get(needsViewer, one+"/history", s.history)
	s.on(needsOperator, http.MethodPost, one+"/rollback", s.rollback)
	s.on(needsViewer, http.MethodPost, one+"/preview", s.preview) // which writes nothing
	for _, e := range []entryRoutes{s.keys(), s.pools()} {
		list := one + "/" + e.list
		entry := list + "/:" + e.param
		s.get(needsViewer, list, e.page)
		s.get(needsViewer, entry, e.get)
		s.on(needsOperator, http.MethodPut, entry, e.put)
		s.on(needsOperator, http.MethodPatch, entry, e.patch)
		s.on(needsOperator, http.MethodDelete, entry, e.delete)
	}
	s.on(needsOperator, http.MethodPost, one+"/keys", s.keys().create)
	s.on(needsOperator, http.MethodPost, one+"/keys/:key_id/rotate", s.keys().rotate)
	s.get(needsViewer, "/v1/instances", s.instances)
	s.get(needsViewer, "/metrics", s.scrape())
	s.get(needsViewer, "/openapi.json", s.document)
	s.get(needsNothing, docsPath, s.docs)
	s.get(needsNothing, docsPath+"/:file", s.docsFile)
}

// on registers a route, and what it asks of its callers.
func (s *Server) on(n needs, method, path string, h echo.HandlerFunc) {
	s.echo.Add(method, path, h)
	s.needs[route{method, path}] = n
}

// get registers a route for GET and HEAD.
func (s *Server) get(n needs, path string, h echo.HandlerFunc) {
	s.on(n, http.MethodGet, path, h)
	s.on(n, http.MethodHead, path, h) // net/http leaves the body out
}
