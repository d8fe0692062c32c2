package api

import "github.com/prometheus/client_golang/prometheus"

// Node is how a server of a store stands.
type Node struct {
	Up     bool
	Memory float64 // how much it uses of the memory that it may use, of 1; 0 where it has no bound, or is not known
}

// nodes collects how the servers of a store stand.
type nodes func() map[string]Node

var (
	nodeUp = prometheus.NewDesc("permitd_redis_up",
		"Whether a Redis answers (1), or is taken to be down and probed (0). Of a cluster, the masters that asks have gone to.",
		[]string{"node"}, nil)
	nodeMemory = prometheus.NewDesc("permitd_redis_memory_used_ratio",
		"How much a Redis uses of its maxmemory, from 0 to 1, as last seen; 0 where it has none. One that is full refuses to charge.",
		[]string{"node"}, nil)
)

// WatchNodes shows, each time it is asked, how each server stands, by its address.
func (m *Metrics) WatchNodes(now func() map[string]Node) { m.registry.MustRegister(nodes(now)) }

// Describe implements [prometheus.Collector].
func (nodes) Describe(all chan<- *prometheus.Desc) {
	all <- nodeUp
	all <- nodeMemory
}

// Collect implements [prometheus.Collector].
func (now nodes) Collect(all chan<- prometheus.Metric) {
	for addr, n := range now() {
		up := 0.0
		if n.Up {
			up = 1
		}
		all <- prometheus.MustNewConstMetric(nodeUp, prometheus.GaugeValue, up, addr)
		all <- prometheus.MustNewConstMetric(nodeMemory, prometheus.GaugeValue, n.Memory, addr)
	}
}
