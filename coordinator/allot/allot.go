package allot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

// A Ledger keeps limits and who may be using them; in production it is a
// *ledger.Ledger.
type Ledger interface {
	Limits(ctx context.Context) ([]work.Limit, error)
	// Allot returns what divide grants the agents that were heard of within
	// alive, once that is durable. It returns none while another divides. An
	// agent's answer that is older than fresh is taken for none.
	Allot(ctx context.Context, alive, fresh time.Duration, divide func(work.Division) []work.Grant) ([]work.Grant, error)
	// Answered notes what agents said to it.
	Answered(ctx context.Context, answers []work.Answer) error
}

// A Fleet is the agents; in production it is a *bus.Bus.
type Fleet interface {
	// Allot tells an agent what it may use, and returns its answer.
	Allot(ctx context.Context, site, agent string, a work.Allotment) (work.Taken, error)
}

const (
	// Every is the time between two rounds.
	Every = 2 * time.Second
	// Alive is how long after its last sign of life an agent is still told.
	Alive = 45 * time.Second

	fresh       = 2 * lasts / 3 // of an answer: what counts from an older one would soon be over
	answerWait  = 1500 * time.Millisecond
	askedAtOnce = 128
)

// An Allotter divides the limits again and again.
type Allotter struct {
	ledger Ledger
	fleet  Fleet
	wake   func() // has the next round begin at once

	mu     sync.Mutex
	limits []work.Limit
	bounds map[work.JobID]bool // what Limited found, since the limits were read
}

// New returns an Allotter that calls wake when its next round should not wait.
func New(l Ledger, f Fleet, wake func()) *Allotter {
	return &Allotter{ledger: l, fleet: f, wake: wake}
}

// Round divides the limits once and tells the agents.
func (a *Allotter) Round(ctx context.Context) error {
	if err := a.Read(ctx); err != nil {
		return err
	}
	grants, err := a.ledger.Allot(ctx, Alive, fresh, Plan)
	if err != nil {
		return err
	}
	answers := a.tell(ctx, grants)
	if err := a.ledger.Answered(ctx, answers); err != nil {
		return err
	}
	for _, an := range answers {
		if an.Since == "" { // now it can be given something
			a.wake()
			break
		}
	}
	return nil
}

// Read learns the limits, so that Limited knows them.
func (a *Allotter) Read(ctx context.Context) error {
	limits, err := a.ledger.Limits(ctx)
	if err != nil {
		return fmt.Errorf("read the limits: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits, a.bounds = limits, map[work.JobID]bool{}
	return nil
}

// tell tells every agent its grant and returns the answers that came. Who does
// not answer is asked again in the next round.
func (a *Allotter) tell(ctx context.Context, grants []work.Grant) []work.Answer {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	var (
		mu      sync.Mutex
		answers []work.Answer
		g       errgroup.Group
	)
	g.SetLimit(askedAtOnce)
	for _, grant := range grants {
		g.Go(func() error {
			taken, err := a.fleet.Allot(ctx, grant.Site, grant.Agent, grant.Allotment)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, work.Answer{Grant: grant, Taken: taken})
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	return answers
}

// Limited reports whether a limit bounds what the item asks for, as far as the
// limits are known here: they are read every round. What ends an upload is never
// held up.
func (a *Allotter) Limited(it work.Item) bool {
	if it.Kind == work.Abort {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.limits) == 0 {
		return false
	}
	limited, ok := a.bounds[it.Job]
	if !ok {
		for i := range a.limits {
			limited = limited || a.limits[i].MayConcern(it.Job, it.Source, it.Target, it.Site)
		}
		a.bounds[it.Job] = limited
	}
	return limited
}
