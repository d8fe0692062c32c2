package api

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// Options of a [Server]; the zero value is ready for use.
type Options struct {
	// Logger takes the access log (at debug), panics and internal errors. nil logs nothing.
	Logger *slog.Logger
	// LoopbackOnly refuses requests that a web page of another site could have sent: by their Host, which has to be
	// loopback, by Origin and by Sec-Fetch-Site. Set it when permitd listens on loopback without any authentication.
	LoopbackOnly bool
	// TLS makes Serve speak TLS, with HTTP/2 where the client can.
	TLS *tls.Config
	// Tokens are who may do what. nil: whoever reaches the server may do everything.
	Tokens *Tokens
	// Throttle slows down clients who present tokens that are not known. nil: nobody.
	Throttle Throttle
	// TrustedProxies are whose X-Forwarded-For or Forwarded is believed, to tell one such client from another.
	TrustedProxies []netip.Prefix
	// Surface is which routes there are.
	Surface Surface
	// Version is shown in the OpenAPI document; "" stands for a build that has none.
	Version string
	// IdleTimeout is how long a connection is kept open between requests. 0: [DefaultIdleTimeout].
	IdleTimeout time.Duration
	// MaxConnections is how many connections are open at once, at most. 0: [DefaultMaxConnections].
	MaxConnections int
	// Metrics are what is counted, together with what other servers of the process do. nil: this one alone.
	Metrics *Metrics
}

// Server is the HTTP face of a coordinator. It starts out not ready: /readyz is 503 until [Server.MarkReady].
type Server struct {
	coordinator *limiter.Coordinator
	log         *slog.Logger
	metrics     *Metrics
	openapi     []byte
	guarded     bool
	tokens      *Tokens
	throttle    Throttle
	needs       map[route]needs
	echo        *echo.Echo
	http        *http.Server
	state       atomic.Int32
	connections *connections

	mu        sync.Mutex
	listeners []*listener
}

// Defaults of [Options].
const (
	// DefaultIdleTimeout is longer than the 10 minutes for which load balancers keep idle connections at most, so that it
	// is not permitd that closes a connection on which a request is under way.
	DefaultIdleTimeout    = 11 * time.Minute
	DefaultMaxConnections = 10_000
)

// What a request may take.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	maxHeaderBytes    = 16 << 10
	// unreadTimeout is how long the rest of a body may take that nobody reads.
	unreadTimeout = time.Second
)

// New is a server for a coordinator.
func New(c *limiter.Coordinator, opts Options) *Server {
	version := cmp.Or(opts.Version, "(devel)")
	s := &Server{
		coordinator: c,
		log:         opts.Logger,
		metrics:     opts.Metrics,
		openapi:     openapiOf(version),
		guarded:     opts.LoopbackOnly,
		tokens:      opts.Tokens,
		throttle:    opts.Throttle,
		needs:       map[route]needs{},
		echo:        echo.New(),
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(version, c)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.connections = newConnections(cmp.Or(opts.MaxConnections, DefaultMaxConnections), s.metrics, s.log)
	s.http = &http.Server{
		Handler:           s.echo,
		TLSConfig:         opts.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       cmp.Or(opts.IdleTimeout, DefaultIdleTimeout),
		ConnState:         s.connections.observe,
		ConnContext:       s.connections.introduce,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// OPTIONS * is answered as all else is: by whom it may be asked, and with the same headers.
		DisableGeneralOptionsHandler: true,
	}
	s.echo.HTTPErrorHandler = s.fail
	s.echo.IPExtractor = clientIP(opts.TrustedProxies)
	s.echo.Use(s.observe)
	s.routes(opts.Surface)
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

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// Serve accepts connections until [Server.Shutdown], which makes it return nil, or until the listener fails.
func (s *Server) Serve(l net.Listener) error {
	bounded := newListener(l, s.connections)
	defer bounded.Close()
	s.mu.Lock()
	s.listeners = append(s.listeners, bounded)
	s.mu.Unlock()
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(bounded, "", "")
	} else {
		err = s.http.Serve(bounded)
	}
	if errors.Is(err, http.ErrServerClosed) || s.connections.isStopping() {
		return nil
	}
	return err
}
