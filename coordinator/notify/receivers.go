package notify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Receivers are all that are told. The zero value is none.
type Receivers struct {
	byName map[string]*receiver // none is added or removed later
	names  []string             // in the order of the configuration
}

// A receiver is one that is told.
type receiver struct {
	name  string
	kind  work.ReceiverType
	kinds []work.NoticeKind // none: all
	way   way

	mu       sync.Mutex
	busy     int    // tries in hand
	disabled string // why it is told nothing; empty: it is
}

// A way is how a receiver is reached.
type way interface {
	host() string
	// send makes one try. A status that is not 0 is what the receiver answered,
	// asked is how long it wants to be left alone.
	send(ctx context.Context, d work.Delivery) (status int, asked time.Duration, err error)
	close()
}

// NewReceivers returns receivers that a Sender can reach; version is that of the
// program, by which webhooks may know it. An error names the receiver that
// cannot be used, and no secret.
func NewReceivers(webhooks []Webhook, mails []Mail, version string) (*Receivers, error) {
	rs := &Receivers{byName: map[string]*receiver{}}
	for _, w := range webhooks {
		way, err := newWebhook(w, "tranship/"+cmp.Or(version, "dev"))
		if err != nil {
			return nil, fmt.Errorf("webhook %s: %w", w.Name, err)
		}
		rs.add(&receiver{name: w.Name, kind: work.ReceiverWebhook, kinds: w.Kinds, way: way})
	}
	for _, m := range mails {
		way, err := newMailer(m)
		if err != nil {
			return nil, fmt.Errorf("mail %s: %w", m.Name, err)
		}
		rs.add(&receiver{name: m.Name, kind: work.ReceiverMail, kinds: m.Kinds, way: way})
	}
	return rs, nil
}

func (rs *Receivers) add(r *receiver) {
	rs.byName[r.name] = r
	rs.names = append(rs.names, r.name)
}

func (rs *Receivers) close() {
	for _, r := range rs.byName {
		r.way.close()
	}
}

// Names returns the names of the receivers.
func (rs *Receivers) Names() []string { return slices.Clone(rs.names) }

// Address returns the deliveries of a notice, one for each receiver that is to
// be told. base is where the status page is.
func (rs *Receivers) Address(n work.Notice, base string) (deliveries []work.Delivery, err error) {
	var text string
	for _, name := range rs.names {
		if !rs.byName[name].wants(n.Kind) {
			continue
		}
		if text == "" {
			if text, err = bodyOf(n, base); err != nil {
				return nil, err
			}
		}
		deliveries = append(deliveries, work.Delivery{Receiver: name, Body: text})
	}
	return deliveries, nil
}

func (r *receiver) wants(kind work.NoticeKind) bool {
	return len(r.kinds) == 0 || slices.Contains(r.kinds, kind)
}

func (r *receiver) room() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return atOnce - r.busy
}

func (r *receiver) take(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy += n
}

func (r *receiver) whyDisabled() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.disabled
}

func (r *receiver) disable(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disabled = why
}
