package api

import (
	"encoding/json"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Names of headers that the API gives a meaning.
const (
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderReplayed       = "Idempotent-Replayed" // true: the answer of an earlier request with the same key
	HeaderRequestID      = "X-Request-Id"
	HeaderWho            = "Tranship-User" // who asks, as the audit log is to show it; a claim, not a proof
)

// A NewJob asks for a job.
type NewJob struct {
	Name    string     `json:"name,omitempty"`
	Source  string     `json:"source"` // store URL, without credentials
	Target  string     `json:"target"` // store URL, without credentials
	Site    string     `json:"site,omitempty"`
	Class   work.Class `json:"class,omitempty"`
	Options Options    `json:"options,omitzero"`
}

// MinSplit is the least size, in bytes, from which a job may have its objects
// cut into parts.
const MinSplit = 8 << 20

// Options are the choices of a new job. What is left out is chosen as
// work.DefaultOptions does.
type Options struct {
	Verify      work.Verify    `json:"verify,omitempty"`
	Compare     work.Compare   `json:"compare,omitempty"`
	MaxAttempts int            `json:"max_attempts,omitempty"`
	Split       int64          `json:"split,omitempty"` // bytes; at least MinSplit
	Class       work.ClassRule `json:"class,omitempty"` // storage class at the target
	Carry       work.Carry     `json:"carry,omitempty"`
}

// A Job is a job and how fast it goes. A listing and the answer to a command
// leave the progress out.
type Job struct {
	work.Job
	Progress *Progress `json:"progress,omitempty"`
}

// Progress is how fast a job goes and when it may end.
type Progress struct {
	Fraction    float64   `json:"fraction"`           // of the objects found so far, 0 to 1
	ObjectsRate float64   `json:"objects_per_second"` // finished
	BytesRate   float64   `json:"bytes_per_second"`   // of objects copied or skipped
	ETA         time.Time `json:"eta,omitzero"`       // zero: not known
	AtLeast     bool      `json:"at_least"`           // the source is still being listed: it can only get later
	Basis       string    `json:"basis"`              // what the estimate rests on, or why there is none
}

// JobList is a page of jobs.
type JobList struct {
	Jobs []Job  `json:"jobs"`
	Next string `json:"next,omitempty"` // cursor of the next page; empty: this is the last
}

// A Retry says which failures of a job are to be tried again; the zero value
// means all of them.
type Retry struct {
	Fault  work.Fault
	Prefix string // of the key
	DryRun bool   // only count them
}

// Retried is the answer to a Retry.
type Retried struct {
	Objects int64 `json:"objects"`          // that will be tried again, or would be
	Ranges  int64 `json:"ranges,omitempty"` // of a dry run: of the source, whose listing would go on
	Job     Job   `json:"job"`
}

// A Failure is an object that was given up.
type Failure struct{ work.Failure }

// FailureList is a page of failures.
type FailureList struct {
	Failures []Failure `json:"failures"`
	Next     string    `json:"next,omitempty"`
}

// An Object is an object of a job as the ledger knows it.
type Object struct{ work.ObjectRow }

// ObjectList is a page of objects.
type ObjectList struct {
	Objects []Object `json:"objects"`
	Next    string   `json:"next,omitempty"`
}

// AttemptList is the attempts at an object, or at listing the source, the
// newest last.
type AttemptList struct {
	Attempts []work.Attempt `json:"attempts"`
	Older    bool           `json:"older"` // there were more before these
}

// A Tally is a number of objects of one sort, with an example.
type Tally struct{ work.Tally }

// Tallies count the objects of a job: those that failed by fault, those that
// were skipped by reason, those that left something behind by what it was, and
// those that were copied by their proof.
type Tallies struct {
	Failures []Tally `json:"failures"`
	Skips    []Tally `json:"skips"`
	Dropped  []Tally `json:"dropped"`
	Proofs   []Tally `json:"proofs"`
}

// A Balance is the proof of a job's counters.
type Balance struct {
	work.Balance
	OK bool `json:"holds"` // what Holds reports
}

// SampleList is how far a job had come over time.
type SampleList struct {
	Samples []work.Sample `json:"samples"`
}

// EventList is a page of the audit log. The next page begins after the last
// event's id, or before it where the newest come first.
type EventList struct {
	Events []work.Event `json:"events"`
}

// AgentList is the fleet.
type AgentList struct {
	Agents []work.AgentRow `json:"agents"`
}

// Ready says whether the server can do its work, by what it depends on.
type Ready struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"` // "ok" or "failing"

	// Reasons are words that follow the names of what is failing, such as "has
	// no disk space left"; the log says more.
	Reasons map[string]string `json:"reasons,omitempty"`
}

// An Examination asks what works and what does not: of the server itself, and
// of stores, which agents look at.
type Examination struct {
	Stores []work.StoreCheck `json:"stores,omitempty"`
}

// CheckList is what was found.
type CheckList struct {
	Checks []work.Check `json:"checks"`
}

// Version names the server's program.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// keyed is how a key travels: exactly one of the fields is used.
type keyed struct {
	Key   *string `json:"key,omitempty"`
	Key64 []byte  `json:"key64,omitempty"`
}

func keyedOf(key string) keyed {
	if work.IsText(key) {
		return keyed{Key: &key}
	}
	return keyed{Key64: []byte(key)}
}

func (k keyed) key() string {
	if k.Key != nil {
		return *k.Key
	}
	return string(k.Key64)
}

type failureJSON struct {
	keyed
	work.Failure
}

// MarshalJSON implements json.Marshaler.
func (f Failure) MarshalJSON() ([]byte, error) {
	return json.Marshal(failureJSON{keyedOf(f.Key), f.Failure})
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Failure) UnmarshalJSON(b []byte) error {
	var w failureJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	f.Failure = w.Failure
	f.Key = w.key()
	return nil
}

type objectJSON struct {
	keyed
	work.ObjectRow
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) {
	return json.Marshal(objectJSON{keyedOf(o.Key), o.ObjectRow})
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Object) UnmarshalJSON(b []byte) error {
	var w objectJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	o.ObjectRow = w.ObjectRow
	o.Key = w.key()
	return nil
}

type tallyJSON struct {
	keyed
	work.Tally
}

// MarshalJSON implements json.Marshaler.
func (t Tally) MarshalJSON() ([]byte, error) {
	return json.Marshal(tallyJSON{keyedOf(t.Key), t.Tally})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Tally) UnmarshalJSON(b []byte) error {
	var w tallyJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	t.Tally = w.Tally
	t.Key = w.key()
	return nil
}

type retryJSON struct {
	Fault    work.Fault `json:"fault,omitempty"`
	Prefix   string     `json:"prefix,omitempty"`
	Prefix64 []byte     `json:"prefix64,omitempty"`
	DryRun   bool       `json:"dry_run,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r Retry) MarshalJSON() ([]byte, error) {
	w := retryJSON{Fault: r.Fault, DryRun: r.DryRun}
	if work.IsText(r.Prefix) {
		w.Prefix = r.Prefix
	} else {
		w.Prefix64 = []byte(r.Prefix)
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Retry) UnmarshalJSON(b []byte) error {
	var w retryJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*r = Retry{Fault: w.Fault, Prefix: w.Prefix, DryRun: w.DryRun}
	if w.Prefix64 != nil {
		r.Prefix = string(w.Prefix64)
	}
	return nil
}
