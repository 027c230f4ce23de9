package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const (
	chartWidth   = 600
	chartHeight  = 64
	chartBuckets = 60
	tableSteps   = 12
	chartPoints  = 300 // samples that scripts draw
	mostPoints   = 600
)

// A span is how far back the charts of a job look.
type span struct {
	Name   string
	Title  string
	Length time.Duration // zero: all of its life
}

// spans are those to choose from; the first is what an open job begins with,
// the last what one that has ended does.
var spans = []span{{"1h", "1 hour", time.Hour}, {"24h", "24 hours", 24 * time.Hour}, {"all", "all", 0}}

// readSpan returns the span that the query asks for.
func readSpan(p *params, j work.Job) span {
	var names []string
	for _, sp := range spans {
		names = append(names, sp.Name)
	}
	if name := oneOf(p, "span", names...); name != "" {
		return spans[max(0, slices.Index(names, name))]
	}
	if j.State.Open() {
		return spans[0]
	}
	return spans[len(spans)-1]
}

// since is when the span begins for a job: it ends now, or when the job did.
func (sp span) since(j work.Job, now time.Time) time.Time {
	if sp.Length == 0 {
		return time.Time{}
	}
	if !j.FinishedAt.IsZero() {
		now = j.FinishedAt
	}
	return now.Add(-sp.Length)
}

// A spanOf is what the series that were read lately are known by.
type spanOf struct {
	job  work.JobID
	name string
}

// seriesOf returns samples of a job over a span, thinned to what a chart shows.
func (s *site) seriesOf(ctx context.Context, j work.Job, sp span) ([]work.Sample, error) {
	since := sp.since(j, s.now())
	return s.series.get(ctx, spanOf{j.ID, sp.Name}, func(ctx context.Context, of spanOf) ([]work.Sample, error) {
		return s.Ledger.Series(ctx, of.job, since, mostPoints)
	})
}

func (s *site) listSamples(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	p := readParams(r, "since", "points")
	since := p.time("since", s.now().Add(-samplesSpan))
	points := int(p.number("points", 0, 2, mostPoints))
	if err := p.err(); err != nil {
		return err
	}
	var samples []work.Sample
	if points > 0 {
		samples, err = s.Ledger.Series(r.Context(), id, since, points)
	} else {
		samples, err = s.Ledger.Samples(r.Context(), id, since)
	}
	if err != nil {
		return err
	}
	return answerJSON(w, api.SampleList{Samples: notNil(samples)})
}

// A chart is a value over time, as a page draws it.
type chart struct {
	ID    string // by which scripts know it
	Name  string
	Path  string // of the area, in SVG
	Says  string // the chart in words, for who does not see it
	Width int
	High  int
}

// A chartsView is how a job went over a span.
type chartsView struct {
	Span    span
	Spans   []span
	Href    string // of the page, to which a span is added
	Charts  []chart
	Rows    []chartStep
	Series  string // address of the samples, for scripts
	Planned int64  // objects found by now
}

// A chartStep is one line of the charts' table.
type chartStep struct {
	From                              moment
	Objects, Bytes, Failed, Remaining string
}

// chartsOf draws the samples of a job over a span.
func (s *site) chartsOf(j work.Job, sp span, samples []work.Sample) chartsView {
	v := chartsView{Span: sp, Spans: spans, Href: "/jobs/" + j.ID.String() + "?span=", Planned: j.Planned}
	q := url.Values{"points": {strconv.Itoa(chartPoints)}, "since": {time.Unix(0, 0).UTC().Format(time.RFC3339)}}
	if since := sp.since(j, s.now()); !since.IsZero() {
		q.Set("since", since.UTC().Truncate(time.Minute).Format(time.RFC3339))
	}
	v.Series = "/v1/jobs/" + j.ID.String() + "/samples?" + q.Encode()
	objects, mean := buckets(samples, chartBuckets, ofObjects)
	if len(objects) == 0 {
		return v
	}
	bytes, meanBytes := buckets(samples, chartBuckets, ofBytes)
	failed, _ := buckets(samples, chartBuckets, ofFailed)
	left := levels(samples, len(objects), func(s work.Sample) float64 { return float64(max(0, j.Planned-s.Objects)) })
	first, last := samples[0], samples[len(samples)-1]
	v.Charts = []chart{
		draw("bytes", "Bytes per second", bytes, fmt.Sprintf("%s on average, %s at most", rateText(meanBytes), rateText(slices.Max(bytes)))),
		draw("objects", "Objects per second", objects, fmt.Sprintf("%s on average, %s at most", perSecond(mean), perSecond(slices.Max(objects)))),
		draw("failed", "Share of objects given up", shares(failed, objects), percentText(share(float64(last.Failed-first.Failed),
			float64(last.Objects-first.Objects)))+" of those that were done with"),
		draw("left", "Remaining objects", left, fmt.Sprintf("%s at first, %s at last, of those found by now",
			comma(int64(left[0])), comma(int64(left[len(left)-1])))),
	}
	v.Rows = steps(samples, j.Planned, s.now())
	return v
}

func ofObjects(s work.Sample) int64 { return s.Objects }
func ofBytes(s work.Sample) int64   { return s.Bytes }
func ofFailed(s work.Sample) int64  { return s.Failed }

// steps tells the same in a few lines.
func steps(samples []work.Sample, planned int64, now time.Time) []chartStep {
	objects, _ := buckets(samples, tableSteps, ofObjects)
	bytes, _ := buckets(samples, tableSteps, ofBytes)
	failed, _ := buckets(samples, tableSteps, ofFailed)
	left := levels(samples, len(objects), func(s work.Sample) float64 { return float64(max(0, planned-s.Objects)) })
	begin := samples[0].At
	width := samples[len(samples)-1].At.Sub(begin) / time.Duration(len(objects))
	rows := make([]chartStep, len(objects))
	for i := range rows {
		rows[i] = chartStep{From: when(begin.Add(time.Duration(i)*width), now), Objects: perSecond(objects[i]), Bytes: rateText(bytes[i]),
			Failed: percentText(share(failed[i], objects[i])), Remaining: comma(int64(left[i]))}
	}
	slices.Reverse(rows)
	return rows
}

// share returns which part of all some are; of nothing it is none.
func share(some, all float64) float64 {
	if all <= 0 {
		return 0
	}
	return min(1, max(0, some/all))
}

func shares(some, all []float64) []float64 {
	out := make([]float64, len(all))
	for i := range out {
		out[i] = share(some[i], all[i])
	}
	return out
}

// draw makes a chart of values that are evenly apart.
func draw(id, name string, values []float64, says string) chart {
	c := chart{ID: id, Name: name, Says: says, Width: chartWidth, High: chartHeight}
	most := max(slices.Max(values), 1e-9) // of nothing the line lies on the ground
	var b strings.Builder
	fmt.Fprintf(&b, "M0 %d", chartHeight)
	step := float64(chartWidth) / float64(len(values))
	for i, v := range values {
		fmt.Fprintf(&b, "V%.1fH%.1f", chartHeight-v/most*(chartHeight-2), float64(i+1)*step)
	}
	fmt.Fprintf(&b, "V%dZ", chartHeight)
	c.Path = b.String()
	return c
}

// levels returns how a value stood at the end of each of n equal spans of time.
func levels(samples []work.Sample, n int, value func(work.Sample) float64) []float64 {
	begin := samples[0].At
	total := samples[len(samples)-1].At.Sub(begin)
	out := make([]float64, n)
	at := 0
	for i := range out {
		upto := begin.Add(total * time.Duration(i+1) / time.Duration(n))
		for at+1 < len(samples) && !samples[at+1].At.After(upto) {
			at++
		}
		out[i] = value(samples[at])
	}
	return out
}

// buckets spreads what was gained between samples over at most n equal spans of
// time, and returns the rate in each, and over all.
func buckets(samples []work.Sample, n int, value func(work.Sample) int64) (rates []float64, mean float64) {
	if len(samples) < 2 {
		return nil, 0
	}
	begin := samples[0].At
	total := samples[len(samples)-1].At.Sub(begin)
	if total <= 0 {
		return nil, 0
	}
	n = min(n, len(samples)-1)
	width := total / time.Duration(n)
	rates = make([]float64, n)
	sum := 0.0
	for i := 1; i < len(samples); i++ {
		from, upto := samples[i-1].At.Sub(begin), samples[i].At.Sub(begin)
		gain := float64(max(0, value(samples[i])-value(samples[i-1])))
		sum += gain
		for b := min(int(from/width), n-1); b < n && upto > from && time.Duration(b)*width < upto; b++ {
			low, high := max(from, time.Duration(b)*width), min(upto, time.Duration(b+1)*width)
			if b == n-1 {
				high = upto // what rounding left over
			}
			rates[b] += gain * float64(high-low) / float64(upto-from) / width.Seconds()
		}
	}
	return rates, sum / total.Seconds()
}
