package api

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// counters is a counter by labels of type L, which finds its series without allocating.
type counters[L comparable] struct {
	vec    *prometheus.CounterVec
	values func(L) []string
	mu     sync.RWMutex
	known  map[L]prometheus.Counter
}

// newCounters registers a counter. values are those of its labels, in the order of names.
func newCounters[L comparable](r prometheus.Registerer, name, help string, values func(L) []string, names ...string) *counters[L] {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names)
	r.MustRegister(vec)
	return &counters[L]{vec: vec, values: values, known: map[L]prometheus.Counter{}}
}

// of is the counter of these labels.
func (c *counters[L]) of(labels L) prometheus.Counter {
	c.mu.RLock()
	counter, ok := c.known[labels]
	c.mu.RUnlock()
	if ok {
		return counter
	}
	counter = c.vec.WithLabelValues(c.values(labels)...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[labels] = counter
	return counter
}

func (l limitLabels) values() []string { return []string{l.provider, l.limit} }

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
