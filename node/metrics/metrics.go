// Package metrics owns the counters of one node and their /metrics page, a thin layer over Prometheus's client. It
// imports nothing of nodedb. Start reading at Registry.
package metrics

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The kinds of metric. Keep the value a constructor gives in a field: looking a labelled one up by its labels costs a
// map access.
type (
	// Counter only grows.
	Counter = prometheus.Counter
	// Gauge goes up and down.
	Gauge = prometheus.Gauge
	// Histogram counts observations in buckets.
	Histogram = prometheus.Histogram
	// CounterVec is a counter for each combination of label values.
	CounterVec = prometheus.CounterVec
	// GaugeVec is a gauge for each combination of label values.
	GaugeVec = prometheus.GaugeVec
	// HistogramVec is a histogram for each combination of label values.
	HistogramVec = prometheus.HistogramVec
)

// LatencyBuckets are upper bounds in seconds, from 50 µs to 26 s, each twice the one before.
var LatencyBuckets = prometheus.ExponentialBuckets(50e-6, 2, 20)

// SizeBuckets are upper bounds in bytes, from 64 B to 64 MiB, each four times the one before.
var SizeBuckets = prometheus.ExponentialBuckets(64, 4, 11)

// Registry holds the metrics of one node; several nodes in one process have one each. Names are snake_case with the
// unit last (nodedb_storage_sync_seconds, nodedb_hints_bytes_total). Asking twice for one name gives the same metric; a
// name reused for another kind or other labels panics. A nil *Registry gives metrics that work and are shown nowhere.
// Safe for concurrent use.
type Registry struct{ reg *prometheus.Registry }

// NewRegistry gives a registry that already has Go's runtime and the process's own figures.
func NewRegistry() *Registry {
	r := &Registry{reg: prometheus.NewRegistry()}
	r.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// register gives back c, or what was registered under its name before.
func register[C prometheus.Collector](r *Registry, c C) C {
	if r == nil {
		return c
	}
	err := r.reg.Register(c)
	if err == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	panic("metrics: " + err.Error())
}

// Counter gives the counter of a name.
func (r *Registry) Counter(name, help string) Counter {
	return register[prometheus.Counter](r, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

// CounterVec gives the labelled counter of a name.
func (r *Registry) CounterVec(name, help string, labels ...string) *CounterVec {
	return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// CounterFunc shows a counter that is kept elsewhere; f is called at each scrape. The newest f of a name is not taken
// if there is one.
func (r *Registry) CounterFunc(name, help string, f func() float64) {
	register[prometheus.CounterFunc](r, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f))
}

// Gauge gives the gauge of a name.
func (r *Registry) Gauge(name, help string) Gauge {
	return register[prometheus.Gauge](r, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

// GaugeVec gives the labelled gauge of a name.
func (r *Registry) GaugeVec(name, help string, labels ...string) *GaugeVec {
	return register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

// GaugeFunc shows a value that is kept elsewhere; f is called at each scrape. The newest f of a name is not taken if
// there is one.
func (r *Registry) GaugeFunc(name, help string, f func() float64) {
	register[prometheus.GaugeFunc](r, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}

// Histogram gives the histogram of a name; buckets are upper bounds in ascending order (LatencyBuckets, SizeBuckets).
func (r *Registry) Histogram(name, help string, buckets []float64) Histogram {
	return register[prometheus.Histogram](r, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}))
}

// HistogramVec gives the labelled histogram of a name.
func (r *Registry) HistogramVec(name, help string, buckets []float64, labels ...string) *HistogramVec {
	return register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}

// maxScrapes bounds the scrapes under way at once; others are answered 503.
const maxScrapes = 4

// Handler answers GET /metrics in Prometheus's text format.
func (r *Registry) Handler() http.Handler {
	if r == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}
