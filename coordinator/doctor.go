package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/coordinator/web"
	"github.com/tranship/tranship/internal/work"
)

// mostExaminers bounds how many agents of a site are asked to look at a store.
const mostExaminers = 8

// examine looks at all that the coordinator depends on, and has agents of every
// site look at stores, with the credentials that they would use for a job.
func (c *Coordinator) examine(ctx context.Context, stores []work.StoreCheck) []work.Check {
	var found [3][]work.Check
	var g errgroup.Group // side by side, so that what is silent takes no time from the others
	for i, look := range []func(context.Context) []work.Check{
		c.ledger.Examine,
		c.bus.Examine,
		func(context.Context) []work.Check { return c.examineAgents(ctx, stores) },
	} {
		g.Go(func() error {
			short, cancel := context.WithTimeout(ctx, lookWithin)
			defer cancel()
			found[i] = look(short)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in what was found
	return slices.Concat(found[:]...)
}

// lookWithin bounds how long Postgres and NATS are looked at.
const lookWithin = 10 * time.Second

// examineAgents looks at the agents, and has them look at stores.
func (c *Coordinator) examineAgents(ctx context.Context, stores []work.StoreCheck) []work.Check {
	short, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	agents, err := c.ledger.Agents(short)
	if err != nil {
		return []work.Check{{Part: "agents", What: "list", State: work.CheckFailing, Found: err.Error(), Advice: "Postgres knows them: see there"}}
	}
	return slices.Concat(c.examineFleet(ctx, agents), c.examineLimits(short), c.examineStores(ctx, agents, stores))
}

// examineFleet looks at the agents.
func (c *Coordinator) examineFleet(ctx context.Context, agents []work.AgentRow) (found []work.Check) {
	add := func(what string, s work.CheckState, text, advice string) {
		found = append(found, work.Check{Part: "agents", What: what, State: s, Found: text, Advice: advice})
	}
	versions := map[string]bool{c.version: true}
	n := 0
	for _, a := range agents {
		name, silent := a.Site+"/"+a.Agent, time.Since(a.LastSeen)
		switch {
		case silent > forgotten, a.Identity != nil && !a.Identity.RevokedAt.IsZero(): // also one that never was seen
			continue
		case silent > agentGone:
			add(name, work.CheckWarning, fmt.Sprintf("silent for %v", silent.Round(time.Second)), "see systemctl status tranship-agent on "+a.Host+", unless it was taken out of service")
		case a.Trouble != "":
			add(name, work.CheckFailing, a.Trouble, "see its log on "+a.Host)
		default:
			add(name, work.CheckOK, fmt.Sprintf("%s, %d of %d streams, version %s", a.State, a.Streams, a.Limit, a.Version), "")
		}
		if silent <= agentGone {
			n++
			versions[a.Version] = true
		}
	}
	if err := c.manned(ctx); err != nil {
		var t *web.Trouble
		if errors.As(err, &t) {
			err = t.Err // here it need not be short
		}
		add("sites", work.CheckFailing, err.Error(), "start an agent there (agent.site)")
	} else if n == 0 {
		add("sites", work.CheckWarning, "no agent is there", "start one: tranship agent")
	}
	if len(versions) > 1 {
		all := make([]string, 0, len(versions))
		for v := range versions {
			all = append(all, v)
		}
		slices.Sort(all)
		add("versions", work.CheckWarning, strings.Join(all, ", "), "versions one apart work together; bring all to the newest")
	}
	return found
}

// forgotten is how long ago an agent was heard last that is no longer missed.
const forgotten = 24 * time.Hour

// examineStores asks agents that are there, of every site some.
func (c *Coordinator) examineStores(ctx context.Context, agents []work.AgentRow, stores []work.StoreCheck) []work.Check {
	if len(stores) == 0 {
		return nil
	}
	asked := map[string]int{}
	var answers []*[]work.Check
	var g errgroup.Group
	for _, a := range agents {
		if time.Since(a.LastSeen) > agentGone || asked[a.Site] == mostExaminers {
			continue
		}
		asked[a.Site]++
		answer := new([]work.Check)
		answers = append(answers, answer)
		g.Go(func() error {
			for _, s := range stores { // an agent looks at one at a time
				*answer = append(*answer, c.examineStore(ctx, a, s)...)
			}
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the answers
	var found []work.Check
	for _, a := range answers {
		found = append(found, *a...)
	}
	if len(answers) == 0 {
		for _, s := range stores {
			found = append(found, work.Check{Part: s.Store, What: "ask an agent", State: work.CheckUnknown, Found: "no agent is there",
				Advice: "start one, or look from this machine with tranship doctor --here"})
		}
	}
	return found
}

func (c *Coordinator) examineStore(ctx context.Context, a work.AgentRow, s work.StoreCheck) []work.Check {
	found, err := c.bus.ExamineStore(ctx, a.Site, a.Agent, s)
	if err != nil {
		return []work.Check{{Part: s.Store, By: a.Site + "/" + a.Agent, What: "ask the agent", State: work.CheckFailing, Found: err.Error(),
			Advice: "an agent of the version before cannot look; else see its log on " + a.Host}}
	}
	return found
}
