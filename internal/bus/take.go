package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Of every lowerEvery items that an agent takes, one is first looked for among
// norm and one among lo, so that urgent jobs never starve the others.
const lowerEvery = 16

// missingWait is how long an agent leaves a queue alone that is not there.
const missingWait = time.Second

// untoldWait is how long an agent waits for the item that tells it of AckWait.
const untoldWait = time.Second

// Take hands out up to n items of a site, the urgent ones first. It returns
// what is there at once, or else waits for the first item. After wait, or
// while the queue is out of reach, it returns none and no error: the caller
// just calls again.
//
// It hands out no more than n, and nothing is left behind: what the queue sent
// in excess goes straight back. Only a suspect does not, for the queue would
// count that against it: it is handed out as well. When ctx ends Take returns
// the items that had come by then, or the error of ctx if there are none.
func (b *Bus) Take(ctx context.Context, site string, n int, wait time.Duration) ([]*Delivery, error) {
	if err := work.CheckName("site", site); err != nil {
		return nil, err
	}
	if n <= 0 {
		return nil, nil
	}
	for end := time.Now().Add(wait); ; {
		found, gone, err := b.takeOnce(ctx, site, min(n, maxBatch), time.Until(end))
		if len(found) > 0 {
			return found, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("take items of site %s: %w", site, err)
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, nil
		}
		if gone || !b.nc.IsConnected() {
			sleep(ctx, min(left, missingWait))
		}
	}
}

// takeOnce looks through the classes and, if there is nothing, waits for what
// comes first in any of them. It reports whether the site has no queue.
func (b *Bus) takeOnce(ctx context.Context, site string, n int, wait time.Duration) (found []*Delivery, gone bool, err error) {
	switch {
	case b.nc.IsClosed():
		return nil, false, ErrClosed
	case !b.nc.IsConnected():
		return nil, false, nil // requests would be sent late, to nobody
	}
	asked := time.Now()
	p, err := b.newPull()
	if err != nil {
		return nil, false, err
	}
	err = p.look(ctx, site, b.turns(n))
	if wait = min(wait, b.patience()); err == nil && wait > 0 && len(p.got) == 0 && ctx.Err() == nil {
		for _, c := range work.Classes() {
			if err == nil && !p.gone[string(c)] {
				err = p.ask(workPrefix+site, string(c), 1, wait)
			}
		}
		if err == nil {
			err = p.gather(ctx, wait, true)
		}
	}
	for i, m := range p.close() {
		d := b.delivery(ctx, site, m, asked)
		switch {
		case d == nil:
		case i < n || d.Item.Suspect:
			found = append(found, d)
		default:
			b.giveBack(ctx, d)
		}
	}
	return found, len(p.gone) == len(work.Classes()), err
}

// patience is how long to wait for an item: one that comes late must not seem
// to be long in hand.
func (b *Bus) patience() time.Duration {
	if b.ackWait.Load() == 0 {
		return min(untoldWait, b.opt.AckWait/4)
	}
	return min(pullWait, b.AckWait()/4)
}

// A turn is a class and how many items to look for in it.
type turn struct {
	class work.Class
	n     int
}

// turns divides n items among the classes: the lower ones' share first, and
// then all that is left, most urgent first.
func (b *Bus) turns(n int) []turn {
	last := b.turn.Add(uint64(n))
	share := map[work.Class]int{}
	for at := last - uint64(n); at < last; at++ {
		switch at % lowerEvery {
		case lowerEvery/2 - 1:
			share[work.Norm]++
		case lowerEvery - 1:
			share[work.Lo]++
		}
	}
	return []turn{
		{work.Lo, share[work.Lo]}, {work.Norm, share[work.Norm]},
		{work.Hi, n}, {work.Norm, n}, {work.Lo, n},
	}
}

// look takes what is there, turn by turn, until as many as the last turn asks
// for are found.
func (p *pull) look(ctx context.Context, site string, turns []turn) error {
	most := turns[len(turns)-1].n
	empty := map[work.Class]bool{}
	for _, t := range turns {
		n := min(t.n, most-len(p.got))
		if n <= 0 || empty[t.class] || ctx.Err() != nil {
			continue
		}
		before := len(p.got)
		if err := p.ask(workPrefix+site, string(t.class), n, 0); err != nil {
			return err
		}
		if err := p.gather(ctx, answerWait, false); err != nil {
			return err
		}
		empty[t.class] = len(p.got)-before < n
		p.forget() // an unanswered request must not hold up the next
	}
	return nil
}

// giveBack returns an item that was sent in excess.
func (b *Bus) giveBack(ctx context.Context, d *Delivery) {
	if err := d.Nak(0); err != nil {
		b.log.WarnContext(ctx, "item will come again only after its time", "item", d.Item.ID, "err", err)
	}
}
