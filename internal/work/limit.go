package work

import (
	"errors"
	"fmt"
	"time"
)

// A LimitScope says what a limit bounds.
type LimitScope string

// The scopes of limits.
const (
	LimitStore LimitScope = "store" // a bucket, as source and as target together
	LimitSite  LimitScope = "site"  // all agents of a site
	LimitJob   LimitScope = "job"   // one job
)

// ParseLimitScope returns the scope called s.
func ParseLimitScope(s string) (LimitScope, error) {
	switch sc := LimitScope(s); sc {
	case LimitStore, LimitSite, LimitJob:
		return sc, nil
	}
	return "", fmt.Errorf("unknown scope %q: use store, site or job", s)
}

// A LimitID names a limit in the ledger.
type LimitID int64

// A Rate is how fast something may go. A zero field bounds nothing.
type Rate struct {
	Bytes    int64   `json:"bytes,omitempty"`    // a second
	Requests float64 `json:"requests,omitempty"` // to stores, a second
}

// A Limit bounds, over the whole fleet, what goes to and from what it names.
type Limit struct {
	ID    LimitID    `json:"id"`
	Scope LimitScope `json:"scope"`
	Name  string     `json:"name"` // of a store: a URL that begins those it is about, such as s3://bucket; of a site: its name; of a job: its number
	Rate             // outside of its windows
	// Windows are when another rate holds, every week anew. Where they overlap
	// the first one counts.
	Windows   []Window  `json:"windows,omitempty"`
	ChangedAt time.Time `json:"changed_at"`
	ChangedBy string    `json:"changed_by"`
}

// A Window is a stretch of every week, in a time zone, in which another rate
// holds. It ends on the next day if Until is not after From.
type Window struct {
	Days  []time.Weekday `json:"days,omitempty"` // on which it begins; none: every day. 0 is Sunday
	From  string         `json:"from"`           // "22:00"
	Until string         `json:"until"`          // "06:00"; "24:00" is the day's end
	Zone  string         `json:"zone,omitempty"` // such as Europe/Berlin; empty: UTC
	Rate
	// Stop means that nothing moves in the window; its rate does not count.
	Stop bool `json:"stop,omitempty"`
}

// A Share is the part of a limit that one agent may use.
type Share struct {
	Limit LimitID    `json:"limit"`
	Scope LimitScope `json:"scope"`
	Name  string     `json:"name"`
	Rate             // the agent's own; a zero field bounds nothing
	Stop  bool       `json:"stop,omitempty"` // nothing moves
}

// An Allotment is all that one agent may use of every limit that could concern
// it, for a while. A new one replaces it whole; when its time is over and there
// is no new one, nothing of what it bounds moves.
type Allotment struct {
	Seq    int64         `json:"seq"` // grows; an older one is not to replace a newer one
	For    time.Duration `json:"for"` // how long it counts from when it came, in nanoseconds
	Shares []Share       `json:"shares"`
}

// MaxLimits bounds how many limits there may be.
const MaxLimits = 1000

// ErrTooMany means that there are as many as there may be.
var ErrTooMany = errors.New("there are too many already")
