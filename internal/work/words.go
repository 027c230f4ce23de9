package work

import (
	"fmt"
	"regexp"
	"strconv"
)

// A JobID names a job in the ledger; it is never reused.
type JobID int64

// String returns the decimal form, which is also the subject token.
func (id JobID) String() string { return strconv.FormatInt(int64(id), 10) }

// An ItemID names an item in the ledger; it is never reused, also across jobs.
type ItemID int64

// String returns the decimal form, which is also the subject token.
func (id ItemID) String() string { return strconv.FormatInt(int64(id), 10) }

// A Kind says what an item asks an agent to do.
type Kind string

// The kinds of items.
const (
	Scan   Kind = "scan"   // list a key range of the source
	Copy   Kind = "copy"   // copy a batch of objects
	Begin  Kind = "begin"  // open an upload of a big object, or copy it if it takes no parts
	Part   Kind = "part"   // move one part of a big object
	Finish Kind = "finish" // put the parts of a big object together and check the whole
	Abort  Kind = "abort"  // give up an upload that came to nothing
)

// A Class is the urgency of a job's items. Each class has its own consumer.
type Class string

// The classes, most urgent first.
const (
	Hi   Class = "hi"
	Norm Class = "norm"
	Lo   Class = "lo"
)

// Classes lists all classes, most urgent first.
func Classes() []Class { return []Class{Hi, Norm, Lo} }

// An Outcome is what became of one object of an item.
type Outcome string

// The outcomes. Copied, Skipped and Failed are final. Retry and Changed hand
// the object on to another item with the next attempt, Begun to the finish of
// its upload.
const (
	Copied  Outcome = "copied"  // stands at the target and was verified
	Skipped Outcome = "skipped" // stood at the target already, before the job
	Failed  Outcome = "failed"  // given up; the fault says why
	Changed Outcome = "changed" // the source changed under the copy
	Retry   Outcome = "retry"   // failed, but another attempt may succeed
	Begun   Outcome = "begun"   // its parts are on their way
)

// Final reports whether nothing more will be done for the object.
func (o Outcome) Final() bool { return o == Copied || o == Skipped || o == Failed }

// A JobState is where a job stands.
type JobState string

// The states of a job. Running and Paused are open; the others are ends.
const (
	Running    JobState = "running"
	Paused     JobState = "paused"
	Succeeded  JobState = "succeeded"  // every object copied or skipped
	Incomplete JobState = "incomplete" // finished, with failed objects
	JobFailed  JobState = "failed"     // it could not be planned to its end: a store refused, or the listing broke off
	Canceled   JobState = "canceled"
)

// Open reports whether the job may still move objects.
func (s JobState) Open() bool { return s == Running || s == Paused }

// An ItemState is where an item stands in the ledger.
type ItemState string

// The states of an item.
const (
	Waiting      ItemState = "waiting"  // a finish whose parts are not all there
	Ready        ItemState = "ready"    // waits to be published
	Queued       ItemState = "queued"   // on the queue or with an agent
	Done         ItemState = "done"     // has a result
	Dead         ItemState = "dead"     // given up as a whole
	ItemCanceled ItemState = "canceled" // its job was canceled
)

// A Verify is how much proof a copy needs before it counts as copied.
type Verify string

// The verification levels, weakest first.
const (
	VerifySize     Verify = "size"     // the target stored as many bytes
	VerifyETag     Verify = "etag"     // also: both ends name the same ETag, where they are comparable
	VerifyChecksum Verify = "checksum" // also: a checksum of the stream equals what either end vouches for
	VerifyReadback Verify = "readback" // also: the target is read again, and has these very bytes
)

// ParseVerify returns the level called s; an empty s is VerifyChecksum.
func ParseVerify(s string) (Verify, error) {
	switch v := Verify(s); v {
	case "":
		return VerifyChecksum, nil
	case VerifySize, VerifyETag, VerifyChecksum, VerifyReadback:
		return v, nil
	}
	return "", fmt.Errorf("unknown verification level %q: use size, etag, checksum or readback", s)
}

// A Compare is how an object that already stands at the target is recognised.
type Compare string

// The ways to compare before copying.
const (
	CompareContent Compare = "content" // same size and the same ETag or checksum
	CompareSize    Compare = "size"    // same size is enough
	CompareNone    Compare = "none"    // copy everything anew
)

// ParseCompare returns the comparison called s; an empty s is CompareContent.
func ParseCompare(s string) (Compare, error) {
	switch c := Compare(s); c {
	case "":
		return CompareContent, nil
	case CompareContent, CompareSize, CompareNone:
		return c, nil
	}
	return "", fmt.Errorf("unknown comparison %q: use content, size or none", s)
}

// DefaultSite is the site of jobs and agents that name none.
const DefaultSite = "default"

// AnySite is where jobs run that any agent may work on, whatever its own site:
// every agent takes its items, too. No agent stands there.
const AnySite = "any"

// AtSource and AtTarget ask for the site of a job's source or target, as the
// coordinator's configuration has it. They are no sites.
const (
	AtSource = "source"
	AtTarget = "target"
)

// nameSyntax keeps names usable as one token of a subject and of a stream name.
var nameSyntax = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)

// CheckName reports why s cannot name a site or an agent, or nil if it can.
func CheckName(what, s string) error {
	if nameSyntax.MatchString(s) {
		return nil
	}
	return fmt.Errorf("%s %q: a name is 1 to 40 letters, digits, - or _ and begins with a letter or digit", what, s)
}

// CheckSite reports why an agent cannot stand at s, or nil if it can.
func CheckSite(s string) error {
	if s == AnySite || s == AtSource || s == AtTarget {
		return fmt.Errorf("site %q: the word has a meaning of its own where a job says where it runs; choose another", s)
	}
	return CheckName("site", s)
}
