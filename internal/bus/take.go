package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Of every lowerEvery items that an agent takes, one is first looked for among
// norm, one among lo and one at the any site, so that none of them starves.
const lowerEvery = 16

// missingWait is how long an agent leaves a queue alone that is not there.
const missingWait = time.Second

// untoldWait is how long an agent waits for the item that tells it of AckWait.
const untoldWait = time.Second

// Take hands out up to n items of a site, the urgent ones first, and of those
// that any agent may work on. It returns what is there at once, or else waits
// for the first item. After wait, or
// while the queue is out of reach, it returns none and no error: the caller
// just calls again.
//
// It hands out no more than n, and nothing is left behind: what the queue sent
// in excess goes straight back. Only a suspect does not, for the queue would
// count that against it: it is handed out as well. What comes when Take has
// returned is for the next Take, or goes back if there is none soon. When ctx
// ends Take returns the items that had come by then, or the error of ctx if
// there are none.
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

// takeOnce looks through the queues and, if there is nothing, waits for what
// comes first in any of them. It reports whether the site has no queue.
func (b *Bus) takeOnce(ctx context.Context, site string, n int, wait time.Duration) (found []*Delivery, gone bool, err error) {
	switch {
	case b.nc.IsClosed():
		return nil, false, ErrClosed
	case !b.nc.IsConnected():
		return nil, false, nil // requests would be sent late, to nobody
	}
	p, from := b.newPull(), b.sources(site)
	p.late(n, from...)
	err = b.look(ctx, p, site, n)
	from = slices.DeleteFunc(from, p.lost)
	if wait = min(wait, b.patience()); err == nil && wait > 0 && p.count() == 0 && ctx.Err() == nil {
		err = p.first(ctx, n, from, wait)
	}
	for i, m := range p.close() {
		d := b.delivery(ctx, m.Msg, m.asked)
		switch {
		case d == nil:
		case i < n || d.Item.Suspect:
			found = append(found, d)
		default:
			b.giveBack(ctx, d)
		}
	}
	b.anywhere.learn(p)
	return found, p.lacks(workPrefix + site), err
}

// patience is how long to wait for an item: one that comes late must not seem
// to be long in hand.
func (b *Bus) patience() time.Duration {
	if b.ackWait.Load() == 0 {
		return min(untoldWait, b.opt.AckWait/4)
	}
	return min(pullWait, b.AckWait()/4)
}

// look takes what is there, the lower classes' and the any site's shares first,
// and then what is most urgent. The rest of the any site's comes after the own.
func (b *Bus) look(ctx context.Context, p *pull, site string, n int) error {
	share := b.shares(n)
	own := turns(site, n)
	err := p.look(ctx, n, turn{source{workPrefix + site, string(work.Lo)}, share.lo}, turn{source{workPrefix + site, string(work.Norm)}, share.norm})
	if err == nil && b.anywhere.open() {
		err = p.look(ctx, min(n, p.count()+share.any), turns(work.AnySite, share.any)...)
	}
	if err == nil {
		err = p.look(ctx, n, own...)
	}
	if err == nil && b.anywhere.open() && b.anywhere.busy.Load() {
		err = p.look(ctx, n, turns(work.AnySite, n)...)
	}
	return err
}

// sources are where items for a site are looked for.
func (b *Bus) sources(site string) []source {
	streams := []string{workPrefix + site}
	if b.anywhere.open() {
		streams = append(streams, anyStream)
	}
	var all []source
	for _, stream := range streams {
		for _, c := range work.Classes() {
			all = append(all, source{stream, string(c)})
		}
	}
	return all
}

// A turn is how many items to look for in a queue.
type turn struct {
	from source
	n    int
}

// turns looks for up to n items in each class of a site, most urgent first.
func turns(site string, n int) []turn {
	var all []turn
	for _, c := range work.Classes() {
		all = append(all, turn{source{workPrefix + site, string(c)}, n})
	}
	return all
}

// Shares are how many of some items are first looked for elsewhere than where
// the most urgent are.
type shares struct{ lo, norm, any int }

// shares returns those of the next n items.
func (b *Bus) shares(n int) (s shares) {
	last := b.turn.Add(uint64(n))
	for at := last - uint64(n); at < last; at++ {
		switch at % lowerEvery {
		case lowerEvery/4 - 1:
			s.any++
		case lowerEvery/2 - 1:
			s.norm++
		case lowerEvery - 1:
			s.lo++
		}
	}
	return s
}

// look takes what is there, turn by turn, until most are found.
func (p *pull) look(ctx context.Context, most int, turns ...turn) error {
	for _, t := range turns {
		n := min(t.n, most-p.count())
		if n <= 0 || p.empty[t.from] || p.lost(t.from) || ctx.Err() != nil {
			continue
		}
		before := p.count()
		if err := p.ask(t.from, n, 0); err != nil {
			return err
		}
		if err := p.gather(ctx, answerWait); err != nil {
			return err
		}
		p.empty[t.from] = p.count()-before < n
		p.forget() // an unanswered request must not hold up the next
	}
	return nil
}

// lacks reports whether none of a stream's consumers is there.
func (p *pull) lacks(stream string) bool {
	for _, c := range work.Classes() {
		if !p.gone[source{stream, string(c)}] {
			return false
		}
	}
	return true
}

// giveBack returns an item that was sent in excess.
func (b *Bus) giveBack(ctx context.Context, d *Delivery) {
	if err := d.Nak(0); err != nil {
		b.log.WarnContext(ctx, "item will come again only after its time", "item", d.Item.ID, "err", err)
	}
}
