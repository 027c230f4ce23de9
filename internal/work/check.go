package work

// A CheckState is how something was found.
type CheckState string

// The states of a check.
const (
	CheckOK      CheckState = "ok"
	CheckWarning CheckState = "warning" // it works, but not as safely or as well as it should
	CheckFailing CheckState = "failing" // it does not work
	CheckUnknown CheckState = "unknown" // it cannot be seen from here
)

// A Check is one thing that was examined: what doctor says of it.
type Check struct {
	Part   string     `json:"part"`         // whose: postgres, nats, agents, or a store's URL
	By     string     `json:"by,omitempty"` // the agent that looked, as site/name; empty: whoever was asked
	What   string     `json:"what"`
	State  CheckState `json:"state"`
	Found  string     `json:"found"`
	Advice string     `json:"advice,omitempty"` // what to do about it
}

// A StoreCheck asks an agent to examine a store.
type StoreCheck struct {
	Store string `json:"store"` // URL
	Write bool   `json:"write"` // as a target: an object is written, read and removed again
}
