package work

import "errors"

// Errors of the ledger that callers decide on; ask with errors.Is.
var (
	// ErrNoJob means that no job has the id.
	ErrNoJob = errors.New("no such job")
	// ErrNoObject means that the job has found no object with the key.
	ErrNoObject = errors.New("no such object")
	// ErrState means that the job's state does not allow what was asked.
	ErrState = errors.New("not possible in the job's state")
	// ErrIdempotency means that an idempotency key was used before with
	// another request.
	ErrIdempotency = errors.New("idempotency key was used with another request")
	// ErrSite means that it cannot be told at which site a job is to run.
	ErrSite = errors.New("it is not known where the job is to run")
	// ErrCursor means that a pagination cursor is not one that was given out.
	ErrCursor = errors.New("not a cursor of this listing")
)

// An Idempotency names a request so that repeating it creates nothing new. An
// empty Key means that every request is new.
type Idempotency struct {
	Key  string
	Hash []byte // of the request's body
}

// A JobQuery selects jobs, newest first.
type JobQuery struct {
	State  JobState // empty: any
	Text   string   // found in the name, the source or the target, whatever its case; or the id; empty: any
	Failed bool     // only those that gave objects up
	Cursor string   // of the page before; empty: from the newest
	Limit  int
}

// A FailureQuery selects failures of a job, oldest first.
type FailureQuery struct {
	Job    JobID
	Fault  Fault  // empty: any
	Prefix string // of the key
	Cursor string
	Limit  int
}

// An ObjectQuery selects objects of a job.
type ObjectQuery struct {
	Job     JobID
	Outcome Outcome // empty: any
	Open    bool    // only those without a final outcome
	Prefix  string  // of the key
	Whole   bool    // the prefix is all of the key
	Cursor  string
	Limit   int
}

// A RetryQuery selects the failures of a job that are to be tried again.
type RetryQuery struct {
	Job    JobID
	Fault  Fault  // empty: any
	Prefix string // of the key
}

// A Tally is a number of failures or skips of one sort.
type Tally struct {
	Name  string `json:"name"` // a fault or a reason
	Count int64  `json:"count"`
	Key   string `json:"-"` // an example
	Text  string `json:"text,omitempty"`
}

// A Balance is the proof of a job's counters: each number counted from the
// ledger's items, beside the counters that were kept along the way.
type Balance struct {
	Job       JobID  `json:"job"`
	Kept      Counts `json:"kept"`
	Counted   Counts `json:"counted"` // objects only; bytes and retries as kept
	OpenItems int64  `json:"open_items"`
}

// Holds reports whether the counters add up and equal what was counted.
func (b Balance) Holds() bool {
	k, c := b.Kept, b.Counted
	return k.Balanced() && c.Balanced() &&
		k.Planned == c.Planned && k.Copied == c.Copied && k.Skipped == c.Skipped &&
		k.Failed == c.Failed && k.Open == c.Open
}
