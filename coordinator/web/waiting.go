package web

import (
	"context"

	"github.com/tranship/tranship/internal/work"
)

// awaiting adds to a running job why no agent takes work of it. Without the
// fleet nothing is added: the answer is about the job.
func (s *site) awaiting(ctx context.Context, j work.Job) work.Job {
	if j.State != work.Running {
		return j
	}
	now, err := s.fleetNow(ctx)
	if err != nil {
		return j
	}
	var alive []work.Presence
	for _, a := range now.agents {
		if s.now().Sub(a.LastSeen) <= agentSilent {
			alive = append(alive, a.Presence)
		}
	}
	j.Waiting = j.Awaits(alive)
	return j
}
