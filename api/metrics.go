package api

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/permitd/permitd/limiter"
)

// Metrics are what servers count, and show on /metrics. No label ever holds what a client chose: providers are those that a policy is stored
// for, limits those that a policy names, and keys, key ids, models and tokens are in none. A provider that is deleted
// keeps its series until the process ends.
type Metrics struct {
	registry    *prometheus.Registry
	permits     *counters[permitLabels]
	denials     *counters[limitLabels]
	wouldDeny   *counters[limitLabels]
	countedAs   *counters[limitLabels]
	degraded    *counters[permitLabels]
	unweighed   *counters[limitLabels]
	models      *counters[providerLabel] // unknown ones
	units       *counters[providerLabel]
	uncharged   *counters[limitLabels]
	holdsClosed *counters[holdLabels]
	requests    *counters[requestLabels]
	inFlight    prometheus.Gauge
	connections prometheus.Gauge
	displaced   prometheus.Counter
	durations   map[string]prometheus.Observer // by route, of those that are timed
	revision    *prometheus.GaugeVec
	revisions   sync.Map // provider → *revision
	coordinator *limiter.Coordinator
}

type (
	permitLabels  struct{ provider, outcome string }
	providerLabel struct{ provider string }
	limitLabels   struct{ provider, limit string }
	holdLabels    struct{ provider, state, late string }
	requestLabels struct {
		route, method string
		status        int
	}
)

// Outcomes of an ask, beside the names of the problems that kept it from being decided.
const (
	outcomeGranted  = "granted"
	outcomeReplayed = "replayed"
	outcomeDenied   = "denied"
	outcomeDryRun   = "dry_run"
	outcomeGone     = "client_gone" // before it was decided
)

// unknownProvider stands for whatever name a client gave that no policy is known for. No provider can have this name.
const unknownProvider = "_unknown"

// durationBuckets reach from the best case of the embedded store to the longest time that a store is waited for.
var durationBuckets = []float64{50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1}

// timedRoutes are those that clients wait for before and after each call.
var timedRoutes = []string{permitsPath, batchPath, settlePath, cancelPath, extendPath}

// NewMetrics are those of a process of that version, which has one coordinator.
func NewMetrics(version string, c *limiter.Coordinator) *Metrics {
	r := prometheus.NewRegistry()
	m := &Metrics{
		registry:    r,
		coordinator: c,
		permits: newCounters(r, "permitd_permits_total",
			"Asks for a permit by outcome: granted, replayed (the answer to an earlier ask under the same idempotency key), denied, dry_run, client_gone (the client did not wait for a decision), or why there was none.",
			func(l permitLabels) []string { return []string{l.provider, l.outcome} }, "provider", "outcome"),
		denials: newCounters(r, "permitd_denials_total",
			"Times that a limit refused a permit. A permit that several limits refused counts at each.",
			limitLabels.values, "provider", "limit"),
		wouldDeny: newCounters(r, "permitd_would_deny_total",
			"Times that a shadow limit would have refused a permit that was granted or denied without it.",
			limitLabels.values, "provider", "limit"),
		countedAs: newCounters(r, "permitd_counted_as_other_total",
			"Asks that a limit counted together with others as _other, there being more keys without an entry, or more models, than the policy counts apart.",
			limitLabels.values, "provider", "limit"),
		degraded: newCounters(r, "permitd_degraded_permits_total",
			"Permits that were granted or denied without the store, as on_store_failure says. They count in permitd_permits_total too.",
			func(l permitLabels) []string { return []string{l.provider, l.outcome} }, "provider", "outcome"),
		unweighed: newCounters(r, "permitd_unweighed_total",
			"Asks that named no unit of a limit which applied, and so were charged its default_cost there, "+
				"or refused where it has required. Of every limit that is known, at 0 too.",
			limitLabels.values, "provider", "limit"),
		models: newCounters(r, "permitd_unknown_models_total",
			"Asks for a model that no limit with models is for, whether unknown_models lets them pass or not.",
			providerLabel.values, "provider"),
		units: newCounters(r, "permitd_unknown_units_total",
			"Asks that named a unit which no limit of the policy counts, whether unknown_units lets them pass or not.",
			providerLabel.values, "provider"),
		uncharged: newCounters(r, "permitd_uncharged_units_total",
			"Units that calls used, by what their permits were settled to, and that were not charged, being more than one amount past the limit.",
			limitLabels.values, "provider", "limit"),
		holdsClosed: newCounters(r, "permitd_holds_closed_total",
			"Holds that were settled or cancelled. Those that were late had expired before.",
			func(l holdLabels) []string { return []string{l.provider, l.state, l.late} }, "provider", "state", "late"),
		requests: newCounters(r, "permitd_http_requests_total",
			"HTTP requests answered, by the pattern of their route.",
			requestLabels.values, "route", "method", "status"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "permitd_http_requests_in_flight", Help: "HTTP requests that are being answered.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "permitd_http_connections", Help: "Connections that are open, those without a request included.",
		}),
		displaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "permitd_http_connections_displaced_total",
			Help: "Connections that were closed to make way for new ones, being silent for longest when there were too many.",
		}),
		revision: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "permitd_policy_revision", Help: "Revision of the provider's policy that this instance last decided by.",
		}, []string{"provider"}),
		durations: map[string]prometheus.Observer{},
	}
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "permitd_permit_duration_seconds", Help: "Time from the headers of a request about permits to its whole answer.",
		Buckets: durationBuckets,
	}, []string{"route"})
	for _, route := range timedRoutes {
		m.durations[route] = durations.WithLabelValues(route)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "permitd_build_info", Help: "Always 1; its labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	degraded := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "permitd_degraded", Help: "1 while permits are decided without the store, else 0.",
	}, func() float64 {
		if c.Degraded() {
			return 1
		}
		return 0
	})
	putBack := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "permitd_documents_restored_total", Help: "Policies and entries that this instance put back into a store that had lost them.",
	}, func() float64 { return float64(c.PutBack()) })
	memoryUsed := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "permitd_memory_used_bytes",
		Help: "Memory that counters, holds and grants take in this instance, and what it has yet to charge in the store.",
	}, func() float64 { return float64(c.Memory().Used()) })
	memoryMost := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "permitd_memory_max_bytes", Help: "How much they may take: what needs more is refused as overloaded.",
	}, func() float64 { return float64(c.Memory().Most()) })
	r.MustRegister(degraded, putBack, memoryUsed, memoryMost, m.inFlight, m.connections, m.displaced, m.revision, durations, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// asked counts one ask: its decision, or the error that there is none.
func (m *Metrics) asked(ask *limiter.Ask, d *limiter.Decision, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		m.permits.of(permitLabels{m.provider(ask.Provider, err), outcomeGone}).Inc()
	case err != nil:
		m.permits.of(permitLabels{m.provider(ask.Provider, err), problemOf(err).name}).Inc()
		m.refused(ask, err)
	case ask.DryRun:
		m.permits.of(permitLabels{d.Provider, outcomeDryRun}).Inc()
	case d.Replayed:
		m.permits.of(permitLabels{d.Provider, outcomeReplayed}).Inc()
	default:
		m.decided(d)
	}
}

// refused counts what an ask named that the policy does not know, and was refused for.
func (m *Metrics) refused(ask *limiter.Ask, err error) {
	var units *limiter.UnitsError
	switch {
	case ask.DryRun:
	case errors.Is(err, limiter.ErrUnknownModel):
		m.models.of(providerLabel{ask.Provider}).Inc()
	case errors.As(err, &units):
		m.unknownUnits(ask.Provider, units.Unknown)
		for _, limit := range units.Unweighed {
			m.unweighed.of(limitLabels{ask.Provider, limit}).Inc()
		}
	}
}

// unknownUnits counts an ask that named them, if there are any.
func (m *Metrics) unknownUnits(provider string, units []string) {
	if len(units) > 0 {
		m.units.of(providerLabel{provider}).Inc()
	}
}

// decided counts a permit that was granted or denied.
func (m *Metrics) decided(d *limiter.Decision) {
	outcome := outcomeDenied
	if d.Allowed {
		outcome = outcomeGranted
	}
	m.permits.of(permitLabels{d.Provider, outcome}).Inc()
	if d.Degraded {
		m.degraded.of(permitLabels{d.Provider, outcome}).Inc()
	}
	m.applied(d.Provider, d.Revision)
	if d.UnknownModel {
		m.models.of(providerLabel{d.Provider}).Inc()
	}
	m.unknownUnits(d.Provider, d.UnknownUnits)
	for i := range d.Limits {
		l := &d.Limits[i]
		if l.CountedAs != "" {
			m.countedAs.of(limitLabels{d.Provider, l.Name}).Inc()
		}
		if l.Unweighed {
			m.unweighed.of(limitLabels{d.Provider, l.Name}).Inc()
		}
		switch {
		case l.Refused:
			m.denials.of(limitLabels{d.Provider, l.Name}).Inc()
		case l.WouldDeny:
			m.wouldDeny.of(limitLabels{d.Provider, l.Name}).Inc()
		}
	}
}

// closed counts a hold that was settled or cancelled. What is sent again is not counted again.
func (m *Metrics) closed(s *limiter.Settlement) {
	if s.Repeated {
		return
	}
	provider, late := limiter.PermitProvider(s.PermitID), "false"
	if s.Late {
		late = "true"
	}
	m.holdsClosed.of(holdLabels{provider, s.Status.String(), late}).Inc()
	for limit, units := range s.Uncharged {
		m.uncharged.of(limitLabels{provider, limit}).Add(float64(units))
	}
}

// answered counts a request, which may have a method that nobody knows.
func (m *Metrics) answered(route, method string, status int, took time.Duration) {
	if o := m.durations[route]; o != nil {
		o.Observe(took.Seconds())
	}
	m.requests.of(requestLabels{route, knownMethod(method), status}).Inc()
}

// revision is the policy that was last decided by, and its series.
type revision struct {
	last  atomic.Int64
	gauge prometheus.Gauge
}

// applied takes note of the revision that a decision was made by.
func (m *Metrics) applied(provider string, n int64) {
	v, ok := m.revisions.Load(provider)
	if !ok {
		v, _ = m.revisions.LoadOrStore(provider, &revision{gauge: m.revision.WithLabelValues(provider)})
	}
	r := v.(*revision)
	if last := r.last.Load(); last != n && r.last.CompareAndSwap(last, n) {
		r.gauge.Set(float64(n))
	}
}

// provider is the name in an ask that failed, if there is, or was, a provider of this name, or unknownProvider.
func (m *Metrics) provider(name string, err error) string {
	if _, known := m.revisions.Load(name); known || isOfPolicy(err) {
		return name
	}
	return unknownProvider
}

// isOfPolicy reports whether an error is one that asks get only where there is a policy.
func isOfPolicy(err error) bool {
	for _, is := range []error{
		limiter.ErrUnknownKey, limiter.ErrUnknownModel, limiter.ErrKeyDisabled, limiter.ErrCostExceedsLimit,
		limiter.ErrIdempotencyMismatch,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	var units *limiter.UnitsError
	return errors.As(err, &units)
}
