package agent

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// beatEvery is the time between two signs of life.
const beatEvery = 5 * time.Second

// Presence says what the agent does now. Its Rate and what is Moving are those
// of the last sign of life.
func (a *Agent) Presence() work.Presence {
	p := work.Presence{
		Agent: a.cfg.Name, Site: a.cfg.Site, Version: a.version,
		Host: a.host, PID: os.Getpid(), Started: a.started.UTC(), State: "running", Trouble: a.stores.trouble(),
		Items: a.inHand(), Streams: int(a.busy.Load()), Limit: a.cfg.Streams,
		Objects: a.objects.Load(), Bytes: a.bytes.Load(), Rate: float64(a.rate.Load()),
		Moving: *a.moving.Load(),
		Labels: a.cfg.Labels,
	}
	if a.leaving.Load() {
		p.State = "draining"
	}
	return p
}

// beat says that the agent is alive until it has left.
func (a *Agent) beat(taking, present context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	last, at := a.bytes.Load(), time.Now()
	stopping := taking.Done()
	stuck := false
	for {
		p := a.Presence()
		if stuck != (p.Trouble != "") {
			if stuck = !stuck; stuck {
				a.log.WarnContext(present, "work waits", "trouble", p.Trouble)
			} else {
				a.log.InfoContext(present, "work goes on")
			}
		}
		if err := a.bus.Beat(p); err != nil {
			a.log.DebugContext(present, "no sign of life sent", "err", err)
		}
		select {
		case <-present.Done():
			return
		case <-stopping:
			a.leaving.Store(true)
			stopping = nil
		case now := <-tick.C:
			bytes := a.bytes.Load()
			a.rate.Store(int64(float64(bytes-last) / now.Sub(at).Seconds()))
			last, at = bytes, now
			a.moving.Store(stirring(a.flights))
		}
	}
}

// stirring returns the jobs of which something moved since the last time.
func stirring(flights []*flight) *[]work.JobID {
	jobs := []work.JobID{} // not nil: none is known to
	for _, f := range flights {
		if id, ok := f.stirs(); ok && !slices.Contains(jobs, id) {
			jobs = append(jobs, id)
		}
	}
	slices.Sort(jobs)
	return &jobs
}

// serve shows the agent to `nats micro` and lets operators drain it.
func (a *Agent) serve(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.bus.Serve(ctx, bus.ServiceOptions{
			Agent: a.cfg.Name, Site: a.cfg.Site, Version: a.version, Host: a.host,
			Stats: func() any { return a.Presence() }, Drain: a.Drain,
			Examine: func(ctx context.Context, c work.StoreCheck) []work.Check { return Examine(ctx, a.stores.drivers, c) },
		})
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "agent is no service", "err", err)
			_ = sleep(ctx, beatEvery) // the loop looks at ctx itself
		}
	}
}
