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
