package agent

import (
	"math/rand/v2"
	"testing"
)

// An endpoint is what n streams move in a turn, and whether a store throttles.
type endpoint func(n int) (worth float64, throttles int64)

// climb lets a tuner find its number, and returns the mean number and what was
// moved on average in the last turns, and how many of those were throttled.
func climb(t *tuner, e endpoint, turns int, noise *rand.Rand) (streams, worth float64, throttled int) {
	last := turns / 2
	for i := range turns {
		w, throttles := e(t.limit)
		if i >= last {
			streams += float64(t.limit) / float64(turns-last)
			worth += w / float64(turns-last)
			if throttles > 0 {
				throttled++
			}
		}
		t.turn(turnout{worth: w * (0.95 + noise.Float64()/10), throttles: throttles, full: true})
	}
	return streams, worth, throttled
}

func TestTunerClimbs(t *testing.T) {
	t.Parallel()
	knee := func(k float64, falls float64) endpoint {
		return func(n int) (float64, int64) {
			x := float64(n)
			if x > k {
				return k - (x-k)*falls, 0
			}
			return x, 0
		}
	}
	tests := []struct {
		name       string
		e          endpoint
		most       int
		low, high  float64 // of the streams
		share      float64 // of the best rate that is reached at least
		best       float64
		throttledT int // turns of 200 that may be throttled
	}{
		{"a slow disk", knee(3, 0), 64, 2, 5, 0.85, 3, 0},
		{"a busy server", knee(20, 0), 64, 14, 26, 0.85, 20, 0},
		{"a server that thrashes", knee(20, 0.5), 64, 14, 24, 0.8, 20, 0},
		{"far away", knee(1000, 0), 256, 200, 256, 0.85, 256, 0},
		{"little memory", knee(1000, 0), 12, 11, 12, 0.9, 12, 0},
		{"throttles from 30", func(n int) (float64, int64) {
			if n > 30 {
				return 30, int64(n - 30)
			}
			return float64(n), 0
		}, 64, 18, 31, 0.7, 30, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				streams, worth, throttled := climb(newTuner(0, tt.most), tt.e, 400, rand.New(rand.NewPCG(seed, 1)))
				if streams < tt.low || streams > tt.high || worth < tt.share*tt.best || throttled > tt.throttledT {
					t.Errorf("seed %d: %.1f streams moved %.1f of %.1f, throttled in %d turns; want %.0f to %.0f streams and %.1f",
						seed, streams, worth, tt.best, throttled, tt.low, tt.high, tt.share*tt.best)
				}
			}
		})
	}
}

func TestTunerFollowsAChange(t *testing.T) {
	t.Parallel()
	tu := newTuner(0, 64)
	noise := rand.New(rand.NewPCG(1, 1))
	linear := func(k int) endpoint { return func(n int) (float64, int64) { return float64(min(n, k)), 0 } }
	for _, k := range []int{8, 40, 6} {
		if streams, worth, _ := climb(tu, linear(k), 600, noise); worth < 0.85*float64(k) || streams > 1.6*float64(k)+2 {
			t.Errorf("at %d it used %.1f streams and moved %.1f", k, streams, worth)
		}
	}
}

func TestTunerLeavesIdleStreamsAlone(t *testing.T) {
	t.Parallel()
	tu := newTuner(0, 64)
	for range 100 {
		tu.turn(turnout{worth: 1})
	}
	if tu.limit != firstStreams || tu.why != "there is not more to do at once" {
		t.Errorf("%d streams, %q", tu.limit, tu.why)
	}
}

func TestTunerWhereNothingMoves(t *testing.T) {
	t.Parallel()
	tu := newTuner(0, 64)
	for range 200 {
		tu.turn(turnout{full: true})
		if tu.limit > firstStreams+1 {
			t.Fatalf("%d streams wait where nothing moves, %q", tu.limit, tu.why)
		}
	}
	if tu.limit > 2 {
		t.Errorf("%d streams wait where nothing moves, %q", tu.limit, tu.why)
	}
}

func TestTunerThatIsFixed(t *testing.T) {
	t.Parallel()
	tu := newTuner(5, 64)
	tu.turn(turnout{worth: 9, throttles: 3, full: true})
	if tu.limit != 5 || tu.why != "fixed by agent.streams" {
		t.Errorf("%d streams, %q", tu.limit, tu.why)
	}
}
