package coordinator

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// metrics are what a coordinator counts. Labels are of small closed sets: no
// job, key or agent is one.
type metrics struct {
	published  prometheus.Counter
	recorded   prometheus.Counter
	reconciled prometheus.Counter
	finished   *prometheus.CounterVec // by state
	items      *prometheus.GaugeVec   // by state
	oldest     prometheus.Gauge
	uploads    *prometheus.GaugeVec // by state
	sites      siteMetrics
	ledgerUp   prometheus.Gauge
	ledgerTime prometheus.Histogram
	stalled    *prometheus.GaugeVec   // by cause
	stalledFor *prometheus.GaugeVec   // by cause
	deliveries *prometheus.CounterVec // by type and state
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tranship", Subsystem: "coordinator", Name: name, Help: help})
	}
	m := &metrics{
		published:  counter("items_published_total", "Items that the queue took."),
		recorded:   counter("results_recorded_total", "Results that changed the ledger."),
		reconciled: counter("items_reconciled_total", "Items whose message was lost and that were published again."),
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tranship", Subsystem: "coordinator", Name: "jobs_finished_total", Help: "Jobs that came to an end by themselves, by state.",
		}, []string{"state"}),
	}
	m.items = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "items",
		Help: fmt.Sprintf("Open items of running jobs in the ledger, by state; ready ones are counted up to %d.", ledger.BacklogLimit),
	}, []string{"state"})
	m.oldest = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "oldest_ready_seconds",
		Help: "How long the ready item has waited that was due first.",
	})
	m.uploads = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "uploads",
		Help: "Uploads of big objects that are not closed at their target, by state; orphaned ones could not be aborted.",
	}, []string{"state"})
	m.sites = newSiteMetrics(r)
	m.ledgerUp = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "ledger_up", Help: "1 while Postgres answers, else 0.",
	})
	m.ledgerTime = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "ledger_seconds",
		Help: "How long Postgres took to answer the smallest question, asked every second or so.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
	})
	m.stalled = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "stalled_jobs",
		Help: "Running jobs of which something is due and nothing moves, by cause; busy ones only wait for their turn.",
	}, []string{"cause"})
	m.stalledFor = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "stalled_seconds",
		Help: "For how long nothing has moved of the job that is stalled longest, by cause.",
	}, []string{"cause"})
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tranship", Subsystem: "coordinator", Name: "delivery_tries_total",
		Help: "Tries to bring a notice to a receiver, by its type and the state of the delivery then: waiting ones are tried again.",
	}, []string{"type", "state"})
	for _, t := range []work.ReceiverType{work.ReceiverWebhook, work.ReceiverMail} {
		for _, s := range work.DeliveryStates() {
			m.deliveries.WithLabelValues(string(t), string(s)) // so that it is there before the first
		}
	}
	m.stalls(nil, time.Time{}) // so that they are there before the first
	for _, s := range []work.JobState{work.Succeeded, work.Incomplete, work.JobFailed} {
		m.finished.WithLabelValues(string(s)) // so that it is there before the first
	}
	r.MustRegister(m.published, m.recorded, m.reconciled, m.finished, m.items, m.oldest, m.uploads,
		m.stalled, m.stalledFor, m.deliveries, m.ledgerUp, m.ledgerTime)
	return m
}

// tried counts a try of a delivery.
func (m *metrics) tried(t work.ReceiverType, s work.DeliveryState) {
	m.deliveries.WithLabelValues(string(t), string(s)).Inc()
}

// backlog shows what the ledger counted.
func (m *metrics) backlog(b ledger.Backlog) {
	m.items.WithLabelValues(string(work.Ready)).Set(float64(b.Ready))
	m.items.WithLabelValues(string(work.Queued)).Set(float64(b.Queued))
	m.oldest.Set(b.Oldest.Seconds())
}

// pinged shows whether the ledger answered, and how fast.
func (m *metrics) pinged(err error, took time.Duration) {
	m.ledgerUp.Set(0)
	if err == nil {
		m.ledgerUp.Set(1)
		m.ledgerTime.Observe(took.Seconds())
	}
}

// stalls shows which jobs stand still.
func (m *metrics) stalls(all []work.Stall, now time.Time) {
	jobs, longest := map[work.StallCause]int{}, map[work.StallCause]time.Duration{}
	for _, s := range all {
		jobs[s.Cause]++
		longest[s.Cause] = max(longest[s.Cause], now.Sub(s.Since))
	}
	for _, c := range work.StallCauses() {
		m.stalled.WithLabelValues(string(c)).Set(float64(jobs[c]))
		m.stalledFor.WithLabelValues(string(c)).Set(longest[c].Seconds())
	}
}
