package work

import "time"

// An Attempt is one try at an object, at a part of a big one or at listing a
// range of the source, as its item tells of it.
type Attempt struct {
	Item    ItemID    `json:"item"`
	Kind    Kind      `json:"kind"`
	N       int       `json:"n,omitempty"`     // kind part: which one, from 1
	Range   *Range    `json:"range,omitempty"` // kind scan: what was still to be listed
	Attempt int       `json:"attempt"`         // of the object, the part or the range; a store that throttles costs none, and a retry begins anew at 1
	Epoch   int       `json:"epoch"`           // how often the item was handed out
	State   ItemState `json:"state"`           // of the item
	Suspect bool      `json:"suspect,omitempty"`
	Outcome Outcome   `json:"outcome,omitempty"` // empty: the item is open or was canceled, or a part is there
	Fault   Fault     `json:"fault,omitempty"`
	Error   string    `json:"error,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Due     time.Time `json:"due,omitzero"`    // of a ready item: not to be handed out before
	Queued  time.Time `json:"queued,omitzero"` // when it was last handed out
	At      time.Time `json:"at,omitzero"`     // when what became of it was recorded
}

// An AttemptQuery selects attempts of a job.
type AttemptQuery struct {
	Job     JobID
	Key     string // whole, of an object
	Listing bool   // instead of those of an object: failed attempts to list the source
	Limit   int    // only the newest
}

// A StallCause is why nothing of a job moves. There are few, for they are also
// labels of metrics.
type StallCause string

// The causes of a stall, those that explain the most first.
const (
	StallQueue   StallCause = "queue"    // the coordinator cannot reach the queue
	StallNoAgent StallCause = "no_agent" // no agent takes work at its site
	StallTrouble StallCause = "trouble"  // an agent there says what keeps it from working
	StallFault   StallCause = "fault"    // what is tried fails, and is tried again
	StallBusy    StallCause = "busy"     // it waits for its turn: the agents there move other jobs
	StallUnknown StallCause = "unknown"
)

// StallCauses lists all causes.
func StallCauses() []StallCause {
	return []StallCause{StallQueue, StallNoAgent, StallTrouble, StallFault, StallBusy, StallUnknown}
}

// A Stall says that a job stands still although there is something to do.
type Stall struct {
	Job    JobID      `json:"-"`
	Since  time.Time  `json:"since"`  // when it last came on
	Ready  int64      `json:"ready"`  // items that are due and not handed out
	Queued int64      `json:"queued"` // items on the queue or with an agent
	Cause  StallCause `json:"cause"`
	Why    string     `json:"why"`  // a sentence without its stop
	Next   string     `json:"next"` // what to do about it: whole sentences
}

// Waits reports whether the job only waits for its turn, which needs nobody.
func (s Stall) Waits() bool { return s.Cause == StallBusy }
