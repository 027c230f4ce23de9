package agent

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the agent's collectors. Their labels have few values: no key or
// job is one, and of a store only its bucket.
type metrics struct {
	objects       *prometheus.CounterVec // by outcome
	faults        *prometheus.CounterVec // by fault
	items         *prometheus.CounterVec // by kind and how they were settled
	throttles     *prometheus.CounterVec // by store
	pages         prometheus.Counter
	panics        prometheus.Counter
	objectSeconds prometheus.Histogram
}

// newMetrics makes the collectors and registers them with reg, if there is
// one, under a label that tells agents of one process apart.
func newMetrics(a *Agent, reg prometheus.Registerer) (*metrics, error) {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "tranship", Subsystem: "agent", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), value)
	}
	m := &metrics{
		objects:   counter("objects_total", "Objects that were tried, by outcome.", "outcome"),
		faults:    counter("faults_total", "Objects and items that failed, by fault.", "fault"),
		items:     counter("items_total", "Items that were settled: done, failed, untouched (they may have ended agents), returned to the queue, paused or canceled; or lapsed: dropped because the queue had handed them on.", "kind", "how"),
		throttles: counter("throttles_total", "Requests that a store refused because it wants to be asked more slowly.", "store"),
		pages:     prometheus.NewCounter(prometheus.CounterOpts(opts("pages_total", "Pages of listings that were reported."))),
		panics:    prometheus.NewCounter(prometheus.CounterOpts(opts("panics_total", "Panics that were caught; each is a defect."))),
		objectSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tranship", Subsystem: "agent", Name: "object_seconds",
			Help: "How long an object took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
	}
	if reg == nil {
		return m, nil
	}
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"agent": a.cfg.Name}, reg)
	for _, c := range []prometheus.Collector{
		m.objects, m.faults, m.items, m.throttles, m.pages, m.panics, m.objectSeconds,
		&pauses{stores: a.stores, desc: newPausedDesc()},
		prometheus.NewCounterFunc(prometheus.CounterOpts(opts("bytes_total", "Bytes of objects that were moved.")),
			func() float64 { return float64(a.bytes.Load()) }),
		gauge("items", "Items in hand.", func() float64 { return float64(a.inHand()) }),
		gauge("streams", "Streams that are busy.", func() float64 { return float64(a.busy.Load()) }),
		gauge("streams_limit", "Streams that may be busy at once.", func() float64 { return float64(min(a.cfg.Streams, a.lanes.streams())) }),
		gauge("buffered_bytes", "Bytes of the memory budget in use.", func() float64 { return float64(a.carrier.budget.used.Load()) }),
		gauge("buffered_bytes_limit", "The memory budget.", func() float64 { return float64(a.carrier.budget.limit) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// pauses tells of every open store whether it is left alone.
type pauses struct {
	stores *stores
	desc   *prometheus.Desc
}

func newPausedDesc() *prometheus.Desc {
	return prometheus.NewDesc("tranship_agent_paused",
		"1 while a store is left alone because it refused to be asked, else 0.", []string{"store"}, nil)
}

// Describe implements prometheus.Collector.
func (p *pauses) Describe(ch chan<- *prometheus.Desc) { ch <- p.desc }

// Collect implements prometheus.Collector.
func (p *pauses) Collect(ch chan<- prometheus.Metric) {
	for store, closed := range p.stores.gates() {
		value := 0.0
		if closed {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, value, store)
	}
}
