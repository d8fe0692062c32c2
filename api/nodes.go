package api

import "github.com/prometheus/client_golang/prometheus"

// nodes collects how the servers of a store stand.
type nodes func() map[string]bool

var nodeUp = prometheus.NewDesc("permitd_redis_up",
	"Whether a Redis answers (1), or is taken to be down and probed (0). Of a cluster, the masters that asks have gone to.",
	[]string{"node"}, nil)

// WatchNodes shows, each time it is asked, for each server by its address whether it is up.
func (m *Metrics) WatchNodes(up func() map[string]bool) { m.registry.MustRegister(nodes(up)) }

// Describe implements [prometheus.Collector].
func (nodes) Describe(all chan<- *prometheus.Desc) { all <- nodeUp }

// Collect implements [prometheus.Collector].
func (up nodes) Collect(all chan<- prometheus.Metric) {
	for addr, is := range up() {
		value := 0.0
		if is {
			value = 1
		}
		all <- prometheus.MustNewConstMetric(nodeUp, prometheus.GaugeValue, value, addr)
	}
}
