package web

import (
	"fmt"
	"math"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// windows are the spans over which a rate is taken, the shortest that holds
// enough steps first: results arrive a batch at a time, so on a slow link a
// minute may hold none while the job goes on well.
var windows = []time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute, samplesSpan}

const (
	enoughSteps = 3                        // samples of a window at which the job had come on
	farthestETA = 2 * 365 * 24 * time.Hour // later is not worth a date
)

// Estimate says how fast a job goes and when it may end, from its counters and
// its samples of the last hour, oldest first.
//
// The end is taken from objects and from bytes, and the later of the two is
// said: many small objects are bound by their number, few large ones by their
// size. It says what it rests on, and why there is none where there is none.
func Estimate(j work.Job, samples []work.Sample, now time.Time) api.Progress {
	p := api.Progress{Fraction: fraction(j), AtLeast: j.Scanning && j.State.Open()}
	if !j.State.Open() {
		p.Basis = "the job has ended"
		p.ObjectsRate, p.BytesRate = overall(j)
		return p
	}
	if j.State == work.Paused {
		p.Basis = "the job is paused"
		return p
	}
	if final := j.Copied + j.Skipped + j.Failed; len(samples) > 0 {
		samples = append(samples[:len(samples):len(samples)], work.Sample{At: now, Objects: final, Failed: j.Failed, Bytes: j.DoneBytes})
	}
	span := rate(&p, samples, now)
	switch {
	case span == 0 && j.Planned == 0:
		p.Basis = "the source is being listed"
	case span == 0:
		p.Basis = "nothing has finished in the time that was watched"
	case j.Open == 0 && j.Scanning:
		p.Basis = "everything found so far is done; the source is still being listed"
	default:
		p.Basis = "at the rate of the last " + spanText(span)
		if left := remaining(j, p); left <= farthestETA {
			p.ETA = now.Add(left).Truncate(time.Second)
		} else {
			p.Basis += ", which is too slow to name a date"
		}
		if j.Scanning {
			p.Basis += ", for what has been found so far"
		}
	}
	return p
}

// rate sets the rates over the shortest window with enough steps, else over
// the longest with any, and returns how long that was; 0 if there is none.
func rate(p *api.Progress, samples []work.Sample, now time.Time) time.Duration {
	var span time.Duration
	for _, w := range windows {
		from := len(samples)
		for from > 0 && now.Sub(samples[from-1].At) <= w {
			from--
		}
		if len(samples)-from < 2 {
			continue
		}
		objects, bytes, steps := gained(samples[from:])
		took := samples[len(samples)-1].At.Sub(samples[from].At)
		if steps == 0 || took <= 0 {
			continue
		}
		span = took
		p.ObjectsRate = float64(objects) / took.Seconds()
		p.BytesRate = float64(bytes) / took.Seconds()
		if steps >= enoughSteps {
			break
		}
	}
	return span
}

// gained returns how far the job came between samples and in how many steps. A
// retry takes failed objects back; that is no progress undone.
func gained(samples []work.Sample) (objects, bytes int64, steps int) {
	for i := 1; i < len(samples); i++ {
		o := max(0, samples[i].Objects-samples[i-1].Objects)
		b := max(0, samples[i].Bytes-samples[i-1].Bytes)
		if o > 0 || b > 0 {
			steps++
		}
		objects, bytes = objects+o, bytes+b
	}
	return objects, bytes, steps
}

// remaining returns how long what is open will take at the rates of p.
func remaining(j work.Job, p api.Progress) time.Duration {
	seconds := 0.0
	if j.Open > 0 && p.ObjectsRate > 0 {
		seconds = float64(j.Open) / p.ObjectsRate
	}
	// Bytes that are missing belong to open and to failed objects; the failed
	// ones' share will not be moved.
	if left := j.PlannedBytes - j.DoneBytes; j.Open > 0 && left > 0 && p.BytesRate > 0 {
		seconds = max(seconds, float64(left)*float64(j.Open)/float64(j.Open+j.Failed)/p.BytesRate)
	}
	if seconds > math.MaxInt64/float64(time.Second)/2 {
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}

// overall returns the rates of a job that has ended, over all its time.
func overall(j work.Job) (objects, bytes float64) {
	took := j.FinishedAt.Sub(j.StartedAt).Seconds()
	if j.StartedAt.IsZero() || j.FinishedAt.IsZero() || took <= 0 {
		return 0, 0
	}
	return float64(j.Copied+j.Skipped+j.Failed) / took, float64(j.DoneBytes) / took
}

// fraction returns which part of the objects found has a final outcome.
func fraction(j work.Job) float64 {
	switch {
	case j.Planned > 0:
		return min(1, max(0, float64(j.Planned-j.Open)/float64(j.Planned)))
	case j.State == work.Succeeded:
		return 1 // there was nothing to do
	}
	return 0
}

// spanText says how long a window was.
func spanText(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
}
