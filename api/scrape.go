package api

import (
	"log/slog"
	"slices"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrape answers GET /metrics in the formats that Prometheus reads.
func (s *Server) scrape() echo.HandlerFunc {
	answer := echo.WrapHandler(promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(s.log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
		Registry:      s.metrics.registry,
	}))
	return func(c echo.Context) error {
		s.metrics.list()
		return answer(c)
	}
}

// list has the series of what asks leave out, or name in vain, exist at 0 for every policy that is known: so an alert on an
// increase sees the first one too.
func (m *Metrics) list() {
	var providers []providerLabel
	var limits []limitLabels
	for _, d := range m.coordinator.Known() {
		providers = append(providers, providerLabel{d.Provider})
		for _, l := range d.Policy.Limits {
			limits = append(limits, limitLabels{d.Provider, l.Name})
		}
	}
	m.models.exist(slices.Clone(providers)...)
	m.units.exist(providers...)
	m.unweighed.exist(limits...)
}
