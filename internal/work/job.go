package work

import "time"

// A Job is what a user asked for and how far it has come.
//
// Planned = Copied + Skipped + Failed + Open always holds.
type Job struct {
	ID          JobID     `json:"id"`
	Name        string    `json:"name"`
	Source      string    `json:"source"` // store URL
	Target      string    `json:"target"` // store URL
	Options     Options   `json:"options"`
	Site        string    `json:"site"`
	Class       Class     `json:"class"`
	State       JobState  `json:"state"`
	Error       string    `json:"error,omitempty"` // why it failed
	SubmittedBy string    `json:"submitted_by,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	Counts
	Scanning bool    `json:"scanning"` // the source is not listed to its end yet
	Report   *Report `json:"report,omitempty"`
	Stalled  *Stall  `json:"stalled,omitempty"` // nil: it is not
}

// Counts are the counters of a job.
type Counts struct {
	Planned      int64 `json:"planned"` // objects found so far
	Copied       int64 `json:"copied"`
	Skipped      int64 `json:"skipped"`
	Failed       int64 `json:"failed"`
	Open         int64 `json:"open"` // planned, without a final outcome
	Retries      int64 `json:"retries"`
	PlannedBytes int64 `json:"planned_bytes"`
	DoneBytes    int64 `json:"done_bytes"`  // of objects copied or skipped
	MovedBytes   int64 `json:"moved_bytes"` // sent, repeats included
}

// Balanced reports whether the counters add up.
func (c Counts) Balanced() bool {
	return c.Planned == c.Copied+c.Skipped+c.Failed+c.Open
}

// A NewJob is a job to create.
type NewJob struct {
	Name        string
	Source      string
	Target      string
	Options     Options
	Site        string
	Class       Class
	SubmittedBy string
}

// A JobControl is the state of a job as agents watch it: what they must know
// to stop, hold or go on within a second.
type JobControl struct {
	State JobState `json:"state"`
}

// A Failure is an object that was given up.
type Failure struct {
	Job      JobID     `json:"job"`
	Item     ItemID    `json:"item"`
	Key      string    `json:"-"`
	Fault    Fault     `json:"fault"`
	Message  string    `json:"message"`
	Attempts int       `json:"attempts"`
	Agent    string    `json:"agent"`
	At       time.Time `json:"at"`
}

// An ObjectRow is an object of a job as the ledger knows it.
type ObjectRow struct {
	Job      JobID     `json:"job"`
	Item     ItemID    `json:"item"`
	Key      string    `json:"-"`
	Size     int64     `json:"size"`
	ETag     string    `json:"etag,omitempty"`
	Outcome  Outcome   `json:"outcome,omitempty"` // empty: still open
	Reason   string    `json:"reason,omitempty"`
	Proof    string    `json:"proof,omitempty"`
	Checksum string    `json:"checksum,omitempty"`
	Dropped  string    `json:"dropped,omitempty"`
	Attempt  int       `json:"attempt"`
	Agent    string    `json:"agent,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// A Presence is what an agent says of itself every few seconds.
type Presence struct {
	Agent   string    `json:"agent"`
	Site    string    `json:"site"`
	Version string    `json:"version"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	State   string    `json:"state"`   // running or draining
	Trouble string    `json:"trouble"` // what keeps it from working, such as a store whose credentials have expired; empty: nothing
	Items   int       `json:"items"`   // in hand
	Streams int       `json:"streams"` // objects moving now
	Limit   int       `json:"limit"`   // objects it may move at once
	Objects int64     `json:"objects"` // finished since it started
	Bytes   int64     `json:"bytes"`   // moved since it started
	Rate    float64   `json:"rate"`    // bytes a second, over the last few seconds

	// Moving are the jobs of which bytes moved since the sign of life before.
	// Nil: the agent is of a version that does not say.
	Moving []JobID `json:"moving,omitzero"`

	Labels map[string]string `json:"labels,omitempty"` // what its operator says of it
	Stores []string          `json:"stores,omitempty"` // names of the stores that its configuration knows
	Tuning []Tuning          `json:"tuning,omitempty"` // how many streams go to each pair of stores, and why
}

// A Tuning is how many streams an agent uses between two buckets, and why so
// many.
type Tuning struct {
	Source  string  `json:"source"`          // bucket, without a prefix
	Target  string  `json:"target"`          // bucket, without a prefix
	Streams int     `json:"streams"`         // that may be used
	Rate    float64 `json:"rate"`            // bytes a second, lately
	Why     string  `json:"why"`             // a short sentence without its stop, such as "the target throttles"
	Fixed   bool    `json:"fixed,omitempty"` // by the operator
}

// An AgentRow is an agent as the ledger knows it.
type AgentRow struct {
	Presence
	LastSeen time.Time `json:"last_seen,omitzero"` // zero: never
	Identity *Identity `json:"identity,omitempty"` // nil: it did not join by an invitation
}

// A Sample is how far a job had come at a moment.
type Sample struct {
	At      time.Time `json:"at"`
	Objects int64     `json:"objects"` // with a final outcome
	Failed  int64     `json:"failed"`
	Bytes   int64     `json:"bytes"` // of objects copied or skipped
}

// An Event is a line of the audit log.
type Event struct {
	ID   int64     `json:"id"`
	Job  JobID     `json:"job,omitempty"` // 0: it is about no job
	At   time.Time `json:"at"`
	Who  string    `json:"who"`
	What string    `json:"what"` // such as created, paused, succeeded, token created, agent revoked
	Note string    `json:"note,omitempty"`
	From string    `json:"from,omitempty"` // the address that the request came from; empty: nobody asked
}
