package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/permitd/permitd/limiter"
)

// Options of a [Server]; the zero value is ready for use.
type Options struct {
	// Logger takes the access log (at debug), panics and internal errors. nil logs nothing.
	Logger *slog.Logger
	// LoopbackOnly refuses requests that a web page could have sent: those whose Host is not loopback, and those with an
	// Origin. Set it when permitd listens on loopback without any authentication.
	LoopbackOnly bool
	// TLS makes Serve speak TLS, with HTTP/2 where the client can.
	TLS *tls.Config
	// Version is shown in the OpenAPI document and in /metrics; "" stands for a build that has none.
	Version string
}

// Server is the HTTP face of a coordinator. It starts out not ready: /readyz is 503 until [Server.MarkReady].
type Server struct {
	coordinator *limiter.Coordinator
	log         *slog.Logger
	metrics     *metrics
	openapi     []byte
	guarded     bool
	echo        *echo.Echo
	http        *http.Server
	state       atomic.Int32
}

// What a connection may take. Idle connections outlive the 60 s after which common load balancers drop theirs, so that
// it is never permitd that closes a connection on which a request is under way.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// New is a server for a coordinator.
func New(c *limiter.Coordinator, opts Options) *Server {
	version := cmp.Or(opts.Version, "(devel)")
	s := &Server{
		coordinator: c,
		log:         opts.Logger,
		metrics:     newMetrics(version),
		openapi:     openapiOf(version),
		guarded:     opts.LoopbackOnly,
		echo:        echo.New(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.http = &http.Server{
		Handler:           s.echo,
		TLSConfig:         opts.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.observe)
	s.routes()
	return s
}

// Paths of permits.
const (
	permitsPath = "/v1/permits"
	batchPath   = "/v1/permits/batch"
	settlePath  = "/v1/permits/:permit_id/settle"
	cancelPath  = "/v1/permits/:permit_id/cancel"
	extendPath  = "/v1/permits/:permit_id/extend"
)

func (s *Server) routes() {
	get := func(path string, h echo.HandlerFunc) {
		s.echo.GET(path, h)
		s.echo.HEAD(path, h) // net/http leaves the body out
	}
	get(healthPath, s.health)
	get(readyPath, s.ready)
	s.echo.POST(permitsPath, s.permit)
	s.echo.POST(batchPath, s.batch)
	s.echo.POST(settlePath, s.settle)
	s.echo.POST(cancelPath, s.cancel)
	s.echo.POST(extendPath, s.extend)
	get("/v1/providers", s.providers)
	get("/v1/providers/:provider", s.provider)
	get("/v1/providers/:provider/usage", s.usage)
	get("/metrics", s.scrape())
	get("/openapi.json", s.document)
	get(docsPath, s.docs)
	get(docsPath+"/:file", s.docsFile) // open to all, even where tokens are needed
}

// Metrics takes what else is to be shown on /metrics, such as the figures of a store.
func (s *Server) Metrics() prometheus.Registerer { return s.metrics.registry }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// Serve accepts connections until [Server.Shutdown], which makes it return nil, or until the listener fails.
func (s *Server) Serve(l net.Listener) error {
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops accepting and waits for the requests in flight. When ctx ends first it cuts them off and returns the
// context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}
