package work

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
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
	Stop  bool       `json:"stop,omitempty"` // nothing moves: the limit says so, or the agent has no part of it yet
}

// An Allotment is all that one agent may use of every limit that could concern
// it, for a while. A new one replaces it whole; when its time is over and there
// is no new one, nothing of what it bounds moves.
//
// Its time does not begin when it comes, for nobody knows how long it was under
// way, but with an answer that the agent gave before it was written. One that
// counts from no answer that the agent remembers is only answered.
type Allotment struct {
	Seq    int64         `json:"seq"`             // grows; an older one is not to replace a newer one
	Since  string        `json:"since,omitempty"` // Stamp of the answer that it counts from; empty: the agent is only to answer
	For    time.Duration `json:"for"`             // how long it counts, in nanoseconds
	Shares []Share       `json:"shares"`
}

// A Taken is an agent's answer to an allotment.
type Taken struct {
	Seq   int64  `json:"seq"`   // of the allotment that counts for the agent from now on; 0: none does
	Stamp string `json:"stamp"` // names the moment of the answer, to whom gave it
	Uses  []Use  `json:"uses,omitempty"`
}

// A Use is how much of a share an agent has used since it answered last.
type Use struct {
	Limit        LimitID `json:"limit"`
	Bytes        int64   `json:"bytes,omitempty"`    // a second
	Requests     float64 `json:"requests,omitempty"` // a second
	MoreBytes    bool    `json:"more_bytes,omitempty"`
	MoreRequests bool    `json:"more_requests,omitempty"` // it had to wait for what it did not have
}

// A ShareRow is what the ledger knows an agent may be using of a limit.
type ShareRow struct {
	Limit LimitID   `json:"limit"`
	Site  string    `json:"site"`
	Agent string    `json:"agent"`
	Rate            // the most that it may still believe to be its own
	Told  Rate      `json:"told"`  // what it was told last
	Until time.Time `json:"until"` // it uses it no more then, unless it is told so again
}

// MaxLimits bounds how many limits there may be.
const MaxLimits = 1000

// ErrTooMany means that there are as many as there may be.
var ErrTooMany = errors.New("there are too many already")

// Check reports why the limit cannot be one. It puts the name into the form in
// which it is kept.
func (l *Limit) Check() error {
	if _, err := ParseLimitScope(string(l.Scope)); err != nil {
		return err
	}
	switch l.Scope {
	case LimitStore:
		u, err := url.Parse(l.Name)
		if err != nil || u.Scheme == "" || u.Host == "" && u.Path == "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("name %q: give a store's URL, or how it begins, such as s3://bucket", l.Name)
		}
		if u.Host != "" || strings.Trim(u.Path, "/") != "" { // file:/// are all files
			l.Name = strings.TrimSuffix(l.Name, "/")
		}
	case LimitSite:
		if err := CheckSite(l.Name); err != nil {
			return err
		}
	case LimitJob:
		id, err := strconv.ParseInt(l.Name, 10, 64)
		if err != nil || id < 1 {
			return fmt.Errorf("name %q: give the number of a job", l.Name)
		}
		l.Name = JobID(id).String()
	}
	if err := l.Rate.check(); err != nil {
		return err
	}
	if l.Rate == (Rate{}) && len(l.Windows) == 0 {
		return errors.New("it bounds nothing: give bytes or requests a second, or a window")
	}
	return checkWindows(l.Windows)
}

// LeastBytes and LeastRequests are the least that a limit may be: with less
// nothing would come to an end. To have nothing move there are windows that stop.
const (
	LeastBytes    = 1 << 10
	LeastRequests = 0.1
)

func (r Rate) check() error {
	switch {
	case r.Bytes < 0 || r.Bytes > 0 && r.Bytes < LeastBytes || r.Bytes > 1<<50:
		return fmt.Errorf("bytes: %d a second is out of range: give %d or more, or 0 for as many as there are", r.Bytes, LeastBytes)
	case !(r.Requests == 0 || r.Requests >= LeastRequests && r.Requests <= 1e9):
		return fmt.Errorf("requests: %v a second is out of range: give %v or more, or 0 for as many as there are", r.Requests, LeastRequests)
	}
	return nil
}

// ConcernsStore reports whether a limit of stores by this name is about the
// store of that URL: it has the same scheme and host, lies at the same path or
// below it, and has every parameter that the name has.
func ConcernsStore(name, store string) bool {
	n, err := url.Parse(name)
	if err != nil {
		return false
	}
	s, err := url.Parse(store)
	if err != nil || n.Scheme != s.Scheme || n.Host != s.Host {
		return false
	}
	above, path := strings.TrimSuffix(n.Path, "/")+"/", strings.TrimSuffix(s.Path, "/")+"/"
	if !strings.HasPrefix(path, above) {
		return false
	}
	has := s.Query()
	for key, want := range n.Query() {
		if got, ok := has[key]; !ok || got[0] != want[0] {
			return false
		}
	}
	return true
}

// Concerns reports whether the limit bounds what agents of a site do for a job
// from source to target, as far as their names say; see MayConcern. The site
// AnySite stands for every site.
func (l *Limit) Concerns(job JobID, source, target, site string) bool {
	switch l.Scope {
	case LimitStore:
		return ConcernsStore(l.Name, source) || ConcernsStore(l.Name, target)
	case LimitSite:
		return site == AnySite || l.Name == site
	case LimitJob:
		return l.Name == job.String()
	}
	return false
}

// MayConcern is like Concerns and also true where only agents can tell: which
// URL a store of their configuration comes to, and which of its stores a URL
// is opened as, they know alone.
func (l *Limit) MayConcern(job JobID, source, target, site string) bool {
	named := func(store string) bool { return strings.HasPrefix(store, StoreScheme+"://") }
	return l.Concerns(job, source, target, site) ||
		l.Scope == LimitStore && (named(source) != named(l.Name) || named(target) != named(l.Name))
}
