package notify

import (
	"math/rand/v2"
	"time"
)

const (
	// sendTimeout bounds one try.
	sendTimeout = 10 * time.Second
	// lease is how long a delivery is left to who claimed it; longer than a try
	// and keeping its result take.
	lease = time.Minute
	// maxRetryAfter bounds what a receiver can ask for.
	maxRetryAfter = time.Hour
)

// pauses are those after each try that failed: together almost two days, so that
// a receiver may be away over a night and the day after.
var pauses = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// pauseAfter returns how long to wait after so many tries have failed, by up to
// a fifth more or less, and at least as long as the receiver asked for. It
// reports false if there is no further try.
func pauseAfter(pauses []time.Duration, tries int, asked time.Duration) (time.Duration, bool) {
	if tries > len(pauses) {
		return 0, false
	}
	pause := pauses[max(tries, 1)-1]
	if fifth := pause / 5; fifth > 0 {
		pause += rand.N(2*fifth) - fifth
	}
	return max(pause, min(asked, maxRetryAfter)), true
}
