package node

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapes at a time; one more is told to come again.
const scrapes = 4

// metrics are what GET /metrics tells of a node. What rooms count themselves is read from their Stats at each scrape
// (family); what has a distribution is observed as it happens.
type metrics struct {
	registry *prometheus.Registry
	listed   []listing // every metric of strata's own, in the order of docs/metrics.md

	lag          prometheus.Histogram     // commit to searchable
	indexCalls   *prometheus.HistogramVec // by operation, outcome
	indexDocs    *prometheus.CounterVec   // by outcome
	indexBytes   *prometheus.CounterVec
	elasticCalls *prometheus.HistogramVec // by operation, status
	elasticBytes *prometheus.CounterVec
}

// listing is a metric as docs/metrics.md shows it.
type listing struct {
	name, kind, help string
	labels           []string
}

// newMetrics registers everything; a subject more is a file metrics_<subject>.go and a line here.
func newMetrics(n *Node) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	collect(m, n.nodeFigures, nodeFamilies())
	collect(m, n.captureFigures, captureFamilies())
	collect(m, n.producerFigures, producerFamilies())
	collect(m, n.consumerFigures, consumerFamilies())
	collect(m, n.syncFigures, append(syncFamilies(), buildingFamilies()...))
	collect(m, n.VerifierStats, verifyFamilies())
	m.observeSync()
	m.observeIndex()
	return m
}

// handler answers GET /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes})
}

// table is the body of docs/metrics.md's table.
func (m *metrics) table() string {
	var b strings.Builder
	for _, l := range m.listed {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", l.name, l.kind, strings.Join(l.labels, ", "), l.help)
	}
	return b.String()
}

// histogram makes one with labels, and lists it.
func (m *metrics) histogram(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	m.listed = append(m.listed, listing{name, "histogram", help, labels})
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
	m.registry.MustRegister(v)
	return v
}

// counter makes one with labels, and lists it.
func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	m.listed = append(m.listed, listing{name, "counter", help, labels})
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

// family is one metric that is read from a picture S of what runs.
type family[S any] struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	// read calls emit for each of its values, with the labels' values in their order.
	read func(s *S, emit func(v float64, labels ...string))
}

func counterOf[S any](name, help string, of func(s *S) uint64) family[S] {
	return family[S]{name: name, help: help, kind: prometheus.CounterValue, read: func(s *S, emit func(float64, ...string)) { emit(float64(of(s))) }}
}

func gaugeOf[S any](name, help string, of func(s *S) float64) family[S] {
	return family[S]{name: name, help: help, kind: prometheus.GaugeValue, read: func(s *S, emit func(float64, ...string)) { emit(of(s)) }}
}

// collector is families of one picture, which is taken once for a scrape. It fulfils prometheus.Collector.
type collector[S any] struct {
	picture  func() (s S, ok bool) // not ok: there is nothing to tell in this process
	families []family[S]
	descs    []*prometheus.Desc
}

// collect registers families and lists them.
func collect[S any](m *metrics, picture func() (S, bool), families []family[S]) {
	c := &collector[S]{picture: picture, families: families}
	for _, f := range families {
		kind := "gauge"
		if f.kind == prometheus.CounterValue {
			kind = "counter"
		}
		m.listed = append(m.listed, listing{f.name, kind, f.help, f.labels})
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	m.registry.MustRegister(c)
}

// Describe is part of prometheus.Collector.
func (c *collector[S]) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *collector[S]) Collect(to chan<- prometheus.Metric) {
	s, ok := c.picture()
	if !ok {
		return
	}
	for i, f := range c.families {
		f.read(&s, func(v float64, labels ...string) {
			one, err := prometheus.NewConstMetric(c.descs[i], f.kind, v, labels...)
			if err != nil {
				one = prometheus.NewInvalidMetric(c.descs[i], err) // the scrape fails and says why
			}
			to <- one
		})
	}
}

// truth is 1 for true.
func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// unix is a time in seconds, as Prometheus has times.
func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// nodeFigures is what a process is beside its roles.
type nodeFigures struct{ leftOut []string }

func (n *Node) nodeFigures() (s nodeFigures, ok bool) {
	for name := range n.absent {
		s.leftOut = append(s.leftOut, name)
	}
	slices.Sort(s.leftOut)
	return s, true
}

func nodeFamilies() []family[nodeFigures] {
	return []family[nodeFigures]{{name: "strata_dataset_left_out", help: "1 for a dataset that this process goes on without, as its tables are not what it needs.",
		kind: prometheus.GaugeValue, labels: []string{"dataset"}, read: func(s *nodeFigures, emit func(float64, ...string)) {
			for _, name := range s.leftOut {
				emit(1, name)
			}
		}}}
}
