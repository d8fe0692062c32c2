package api

import "github.com/prometheus/client_golang/prometheus"

// states collect what is so and what is not, by name.
type states struct {
	desc *prometheus.Desc
	now  func() map[string]bool
}

var reloadFailed = prometheus.NewDesc("permitd_reload_failed",
	"1 when files could not be used when they were last read again, so that what was in force before still is; else 0.",
	[]string{"what"}, nil)

// WatchFiles shows, each time it is asked, for each kind of file that is followed whether it failed to be read again.
func (m *Metrics) WatchFiles(failed func() map[string]bool) {
	m.registry.MustRegister(states{reloadFailed, failed})
}

// Describe implements [prometheus.Collector].
func (s states) Describe(all chan<- *prometheus.Desc) { all <- s.desc }

// Collect implements [prometheus.Collector].
func (s states) Collect(all chan<- prometheus.Metric) {
	for name, is := range s.now() {
		value := 0.0
		if is {
			value = 1
		}
		all <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, value, name)
	}
}
