package bus

import (
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// anyStream holds the items that any agent may work on. It is there once there
// was such a job.
const anyStream = workPrefix + work.AnySite

// forbiddenWait is how long an agent leaves the any site alone whose rights are
// of a version that did not know of it.
const forbiddenWait = time.Hour

// An anywhere is what a Bus knows of the queue of the any site, so that it asks
// no more than it must.
type anywhere struct {
	closed atomic.Int64 // the time, in Unix nanoseconds, until which it is not asked
	busy   atomic.Bool  // items came of it the last time
}

// open reports whether it is worth asking.
func (a *anywhere) open() bool { return time.Now().UnixNano() >= a.closed.Load() }

func (a *anywhere) close(d time.Duration) { a.closed.Store(time.Now().Add(d).UnixNano()) }

// learn notes what a pull has found.
func (a *anywhere) learn(p *pull) {
	for _, c := range work.Classes() {
		if p.gone[source{anyStream, string(c)}] {
			a.close(lookAgain)
		}
	}
	busy := false
	for _, m := range p.got {
		if meta, err := m.Metadata(); err == nil {
			busy = busy || meta.Stream == anyStream
		}
	}
	a.busy.Store(busy)
}
