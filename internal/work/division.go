package work

import "time"

// A Division is all that matters to how limits are divided among agents at a
// moment.
type Division struct {
	Now     time.Time // the ledger's
	Limits  []Limit
	Jobs    []LimitedJob // that are running
	Sharers []Sharer
	InForce []ShareRow // of all agents, also of those that are gone
}

// A LimitedJob is what limits need to know of a job.
type LimitedJob struct {
	ID             JobID
	Site           string
	Source, Target string // store URLs
}

// A Sharer is an agent that limits are divided among.
type Sharer struct {
	Site, Agent string
	Stamp       string // of its last answer; empty: it is to give one first
	Uses        []Use  // as it said then
	Bound       bool   // what it was told last may bound it
}

// A Grant is an allotment for an agent.
type Grant struct {
	Site, Agent string
	Allotment
}

// An Answer is what an agent said to a grant.
type Answer struct {
	Grant
	Taken
}
