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

// A DeliveryState is how far a notice has come on its way to a receiver.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryWaiting DeliveryState = "waiting" // for its next try
	DeliverySent    DeliveryState = "sent"    // the receiver took it
	DeliveryGivenUp DeliveryState = "given_up"
)

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
