package api

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters is a counter by labels of type L, which finds its series without allocating or locking. There are few of them,
// and soon no new ones, so that the map is copied for each.
type counters[L comparable] struct {
	vec    *prometheus.CounterVec
	values func(L) []string
	known  atomic.Pointer[map[L]prometheus.Counter]
	mu     sync.Mutex // of those who add to known
}

// newCounters registers a counter. values are those of its labels, in the order of names.
func newCounters[L comparable](r prometheus.Registerer, name, help string, values func(L) []string, names ...string) *counters[L] {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names)
	r.MustRegister(vec)
	c := &counters[L]{vec: vec, values: values}
	c.known.Store(&map[L]prometheus.Counter{})
	return c
}

// of is the counter of these labels.
func (c *counters[L]) of(labels L) prometheus.Counter {
	if counter, ok := (*c.known.Load())[labels]; ok {
		return counter
	}
	c.exist(labels)
	return (*c.known.Load())[labels]
}

// exist has counters of these labels exist, at 0 unless they did before. It may change the order of all.
func (c *counters[L]) exist(all ...L) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.known.Load()
	missing := slices.DeleteFunc(all, func(labels L) bool { return known[labels] != nil })
	if len(missing) == 0 {
		return
	}
	known = maps.Clone(known)
	for _, labels := range missing {
		known[labels] = c.vec.WithLabelValues(c.values(labels)...)
	}
	c.known.Store(&known)
}

func (l limitLabels) values() []string { return []string{l.provider, l.limit} }

func (l providerLabel) values() []string { return []string{l.provider} }

func (l requestLabels) values() []string {
	return []string{l.route, l.method, strconv.Itoa(l.status)}
}

// knownMethod is a method that a route may have, or "other": a client can send any word for one.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
