package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tranship/tranship/internal/work"
)

// newerDelay is how long a message of a newer version rests before it is
// offered again, so that a program that understands it can take it.
const newerDelay = 15 * time.Second

// ackWaitHeader says of an item what its publisher's Options.AckWait was.
const ackWaitHeader = "Tranship-Ack-Wait"

// A Delivery is an item in an agent's hands. It must be settled once, by Ack,
// Nak or Term; without that and without a sign of life it goes to another
// agent after AckWait. Settling it again does nothing.
//
// The queue does not check who settles: an agent that was too slow still
// removes the item under the next one. The ledger tells them apart by epoch.
type Delivery struct {
	Item       work.Item
	Deliveries int       // times it was handed to an agent, or was on its way to one, this one included
	Asked      time.Time // it was handed out no earlier

	// AckWait is that of who published it; 0: that was a program of the version
	// before, which does not tell. See Bus.AckWait.
	AckWait time.Duration

	nc      *nats.Conn
	reply   string
	settled atomic.Bool
}

// Ack removes the item from the queue. It must follow the Report of its
// result. An Ack that is lost on its way means another delivery.
func (d *Delivery) Ack() error { return d.settle("+ACK") }

// Nak gives the item back; it is delivered again once delay has passed.
func (d *Delivery) Nak(delay time.Duration) error { return d.settle(nak(delay)) }

// Term removes the item as unreadable or unworkable; reason is for operators.
func (d *Delivery) Term(reason string) error { return d.settle(term(reason)) }

// InProgress is a sign of life: AckWait begins anew. It returns nil once the
// queue has confirmed it, and does nothing for an item that was settled. The
// queue also confirms it when another agent has the item by now, which then
// keeps it for longer.
func (d *Delivery) InProgress(ctx context.Context) error {
	if d.settled.Load() {
		return nil
	}
	if _, err := d.nc.RequestWithContext(ctx, d.reply, []byte("+WPI")); err != nil {
		return fmt.Errorf("tell the queue of work on item %d: %w", d.Item.ID, closedOr(err))
	}
	return nil
}

func (d *Delivery) settle(how string) error {
	if d.settled.Swap(true) {
		return nil
	}
	return d.say(how)
}

func (d *Delivery) say(what string) error {
	if err := d.nc.Publish(d.reply, []byte(what)); err != nil {
		return fmt.Errorf("tell the queue %s of item %d: %w", what, d.Item.ID, closedOr(err))
	}
	return nil
}

func nak(delay time.Duration) string {
	if delay <= 0 {
		return "-NAK"
	}
	return fmt.Sprintf(`-NAK {"delay":%d}`, delay.Nanoseconds())
}

func term(reason string) string { return "+TERM " + work.Clip(reason) }

// delivery reads a message of a queue of items. It returns nil for one that it
// cannot hand on, which is then taken care of.
func (b *Bus) delivery(ctx context.Context, m *nats.Msg, asked time.Time) *Delivery {
	meta, err := m.Metadata()
	if err != nil {
		b.log.ErrorContext(ctx, "message without a delivery", "subject", m.Subject, "err", err)
		return nil
	}
	it, err := work.DecodeItem(m.Data)
	if err == nil && (workPrefix+it.Site != meta.Stream || it.Subject() != m.Subject) {
		err = fmt.Errorf("it is item %d of job %d for site %q, not that of its subject", it.ID, it.Job, it.Site)
	}
	if err != nil {
		b.refuse(ctx, m, err)
		return nil
	}
	return &Delivery{Item: it, Deliveries: int(meta.NumDelivered), Asked: asked, AckWait: b.told(m), nc: b.nc, reply: m.Reply}
}

// AckWait is how long the queue leaves an item to this side without a sign of
// life: the smallest that any item taken here told of, for a queue may still
// hold items from before it was changed. Until one tells, it is that of this
// side's own Options.
func (b *Bus) AckWait() time.Duration {
	if told := b.ackWait.Load(); told > 0 {
		return time.Duration(told)
	}
	return b.opt.AckWait
}

// told returns the AckWait that a message tells of, 0 if it does not, and keeps
// it if it is the smallest.
func (b *Bus) told(m *nats.Msg) time.Duration {
	wait, err := time.ParseDuration(m.Header.Get(ackWaitHeader))
	if err != nil || wait <= 0 {
		return 0
	}
	for {
		least := b.ackWait.Load()
		if least > 0 && least <= int64(wait) || b.ackWait.CompareAndSwap(least, int64(wait)) {
			return wait
		}
	}
}

// refuse settles a message that cannot be read: one of a newer version is left
// to a newer program, anything else is put aside for people.
func (b *Bus) refuse(ctx context.Context, m *nats.Msg, reason error) {
	how := nak(newerDelay)
	if errors.Is(reason, work.ErrVersion) {
		b.log.WarnContext(ctx, "message left for a newer program", "subject", m.Subject, "err", reason)
	} else if err := b.bury(ctx, m, reason); err != nil {
		b.log.ErrorContext(ctx, "unreadable message could not be put aside", "subject", m.Subject, "reason", reason, "err", err)
	} else {
		b.log.ErrorContext(ctx, "unreadable message put aside", "subject", m.Subject, "stream", deadStream, "reason", reason)
		how = term(reason.Error())
	}
	if err := b.nc.Publish(m.Reply, []byte(how)); err != nil {
		b.log.WarnContext(ctx, "message will come again", "subject", m.Subject, "err", err)
	}
}

// bury stores a copy of an unreadable message where people find it. The
// message itself may go once that is done.
func (b *Bus) bury(ctx context.Context, m *nats.Msg, reason error) error {
	ctx = context.WithoutCancel(ctx)
	dead := nats.NewMsg(deadRoot + strings.TrimPrefix(m.Subject, "tranship."))
	dead.Data = m.Data
	dead.Header.Set("Tranship-Subject", m.Subject)
	dead.Header.Set("Tranship-Reason", oneLine(work.Clip(reason.Error())))
	dead.Header.Set("Tranship-Reader", b.opt.Name)
	if meta, err := m.Metadata(); err == nil {
		dead.Header.Set("Tranship-Stream", meta.Stream)
	}
	return b.store(ctx, dead)
}

// oneLine keeps a text from ending its header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}
