package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	chartWidth   = 600
	chartHeight  = 64
	chartBuckets = 60
)

// A chart is a rate over time, as a page draws it.
type chart struct {
	Name  string
	Path  string // of the area, in SVG; empty: nothing to draw
	Most  string
	Mean  string
	Width int
	High  int
}

// charts draws objects and bytes a second over the time the samples span.
func charts(samples []work.Sample) []chart {
	return []chart{
		draw("Objects per second", samples, func(s work.Sample) int64 { return s.Objects }, perSecond),
		draw("Bytes per second", samples, func(s work.Sample) int64 { return s.Bytes }, rateText),
	}
}

func draw(name string, samples []work.Sample, value func(work.Sample) int64, text func(float64) string) chart {
	c := chart{Name: name, Width: chartWidth, High: chartHeight}
	rates, mean := buckets(samples, value)
	most := 0.0
	for _, r := range rates {
		most = max(most, r)
	}
	if most == 0 {
		return c
	}
	var b strings.Builder
	fmt.Fprintf(&b, "M0 %d", chartHeight)
	step := float64(chartWidth) / float64(len(rates))
	for i, r := range rates {
		fmt.Fprintf(&b, "V%.1fH%.1f", chartHeight-r/most*(chartHeight-2), float64(i+1)*step)
	}
	fmt.Fprintf(&b, "V%dZ", chartHeight)
	c.Path, c.Most, c.Mean = b.String(), text(most), text(mean)
	return c
}

// buckets spreads what was gained between samples over equal spans of time, and
// returns the rate in each, and over all.
func buckets(samples []work.Sample, value func(work.Sample) int64) (rates []float64, mean float64) {
	if len(samples) < 2 {
		return nil, 0
	}
	begin := samples[0].At
	total := samples[len(samples)-1].At.Sub(begin)
	if total <= 0 {
		return nil, 0
	}
	n := min(chartBuckets, len(samples)-1)
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
