package work

import (
	"fmt"
	"time"
)

// A NoticeKind is what somebody may want to be told of.
type NoticeKind string

// The kinds of notices.
const (
	NoticeFinished NoticeKind = "job.finished" // succeeded, or incomplete
	NoticeFailed   NoticeKind = "job.failed"   // could not run to its end
	NoticeCanceled NoticeKind = "job.canceled"
	NoticeStalled  NoticeKind = "job.stalled"      // nothing moves although something is due
	NoticeMoving   NoticeKind = "job.moving"       // again, after it had stalled
	NoticeFailing  NoticeKind = "job.failure_rate" // more objects fail than was to be expected
	NoticeTest     NoticeKind = "test"             // somebody pressed the button
)

// NoticeKinds lists all kinds that can be asked for.
func NoticeKinds() []NoticeKind {
	return []NoticeKind{NoticeFinished, NoticeFailed, NoticeCanceled, NoticeStalled, NoticeMoving, NoticeFailing}
}

// ParseNoticeKind returns the kind called s.
func ParseNoticeKind(s string) (NoticeKind, error) {
	for _, k := range NoticeKinds() {
		if string(k) == s {
			return k, nil
		}
	}
	return "", fmt.Errorf("unknown kind of notice %q: use one of %v", s, NoticeKinds())
}

// A Notice is one thing that happened and that somebody may want to be told of.
type Notice struct {
	ID     string     // names it to receivers, the same for all of them and all tries
	Kind   NoticeKind // what happened
	At     time.Time  // when it was found
	Job    Job        // as it stood then; zero: it is about none
	Faults []Tally    // why objects of the job failed, the most frequent first
}

// A DeliveryState is how far a notice has come on its way to a receiver.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryWaiting DeliveryState = "waiting" // for its next try
	DeliverySent    DeliveryState = "sent"    // the receiver took it
	DeliveryGivenUp DeliveryState = "given_up"
)

// DeliveryStates lists all states.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{DeliveryWaiting, DeliverySent, DeliveryGivenUp}
}

// A DeliveryID names a delivery in the ledger.
type DeliveryID int64

// A Delivery is one notice on its way to one receiver.
type Delivery struct {
	ID        DeliveryID    `json:"id"`
	Notice    string        `json:"notice"`   // the notice's own id, the same for all of its receivers and tries
	Receiver  string        `json:"receiver"` // its name in the configuration
	Kind      NoticeKind    `json:"kind"`
	Job       JobID         `json:"job,omitempty"`
	Body      string        `json:"body"` // what is sent
	State     DeliveryState `json:"state"`
	Tries     int           `json:"tries"`
	NextAt    time.Time     `json:"next_at,omitzero"`
	CreatedAt time.Time     `json:"created_at"`
	SentAt    time.Time     `json:"sent_at,omitzero"`
	Status    int           `json:"status,omitempty"` // of the last answer
	Error     string        `json:"error,omitempty"`  // of the last try
}

// A DeliveryResult is what became of one try of a delivery.
type DeliveryResult struct {
	State  DeliveryState // waiting: for another try
	After  time.Duration // until that try
	Status int           // that the receiver answered with; 0: it did not
	Error  string        // why it was not taken
}

// A DeliveryQuery selects deliveries, newest first.
type DeliveryQuery struct {
	Receiver string        // empty: any
	State    DeliveryState // empty: any
	Cursor   string        // of the page before; empty: from the newest
	Limit    int
}

// A ReceiverType is how a receiver is reached.
type ReceiverType string

// The types of receivers.
const (
	ReceiverWebhook ReceiverType = "webhook"
	ReceiverMail    ReceiverType = "mail"
)

// A Receiver is who is told, as far as anybody may know: neither addresses nor
// secrets are part of it.
type Receiver struct {
	Name     string       `json:"name"`
	Type     ReceiverType `json:"type"`
	Host     string       `json:"host"`               // that requests or mail go to
	Kinds    []NoticeKind `json:"kinds"`              // that it is told
	Disabled string       `json:"disabled,omitempty"` // why it is told nothing now; empty: it is
	DeliveryStanding
}

// A DeliveryStanding is how deliveries to a receiver have fared lately.
type DeliveryStanding struct {
	Waiting int64     `json:"waiting"`          // deliveries
	GivenUp int64     `json:"given_up"`         // deliveries of those that are still remembered
	SentAt  time.Time `json:"sent_at,omitzero"` // when one was last taken; zero: none is remembered
}
