package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// How a store is asked whether anybody is there.
const (
	// askLimit is how long it may take to answer.
	askLimit = 30 * time.Second
	// askTries is how often it is asked, for that may fail in passing, too, and
	// askPause the time between.
	askTries = 3
	askPause = 300 * time.Millisecond
	// askKey is what it is asked for: anything but what the requests that fail
	// were about. That there is no such object is as good an answer as any.
	askKey = "tranship-is-anybody-there"
)

// fine notes that the store served a request.
func (e *end) fine() {
	e.reached.Store(true)
	e.served.Store(time.Now().UnixNano())
	e.gate.fine()
}

// met reports whether an item's stores have been reached, if not by this agent:
// any item but a job's first comes of what was listed.
func met(it work.Item) bool { return it.Kind != work.Scan || it.Range.After != "" }

// judge finds out whether a passing error of what began then is about one
// request, or the whole store is away: a gateway that finds no server behind
// it, or a server that hangs, fails everything in ways that single objects are
// known to fail, too. It returns err, or why the store is away.
func judge(ctx context.Context, f *flight, ends []*end, began time.Time, err error) error {
	if !storage.Is(err, work.Transient) || refusal(err) || errors.Is(err, errGone) {
		return err
	}
	for _, e := range ends {
		if !e.suspect(began) {
			continue
		}
		var away error
		_ = f.patiently(func() error {
			away = e.ask(ctx, began)
			return nil
		})
		if away != nil {
			return away
		}
	}
	return err
}

// stalled is the error of what began then and was ended because it showed no
// sign of life. Either store may be what is silent: where agent.stall is short,
// that ends before the store's own limits do.
func (h *held) stalled(f *flight, began time.Time) error {
	err := error(&storage.Error{Op: "move", Store: h.item.Source, Fault: work.Transient, Err: errStalled})
	var ends []*end
	for _, e := range []*end{h.pair.src, h.pair.dst} {
		if e != nil {
			_ = e.note(err) // it stays what it is
			ends = append(ends, e)
		}
	}
	if err = judge(h.moving, f, ends, began, err); refusal(err) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// suspect reports whether the store may be away: it has failed since then, and
// served nothing after that.
func (e *end) suspect(then time.Time) bool {
	failed := e.failed.Load()
	return e.reached.Load() && failed >= then.UnixNano() && e.served.Load() <= failed
}

// ask returns why the store is away, nil if it is not. An answer of any sort
// will do, except that the request failed in passing. Of several callers one
// asks; the others wait for what it hears.
func (e *end) ask(ctx context.Context, began time.Time) error {
	e.asking.Lock()
	defer e.asking.Unlock()
	if away := e.gate.away(); away != nil {
		return away
	}
	if !e.suspect(began) || ctx.Err() != nil {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	for try := 1; ; try++ {
		_, err := e.Stat(asking, askKey)
		if !storage.Is(err, work.Transient) || try == askTries || sleep(asking, askPause) != nil {
			return e.heard(ctx, err)
		}
		if !e.suspect(began) {
			return nil // it has served somebody else
		}
	}
}

// heard draws the conclusion from the answer to who asked.
func (e *end) heard(ctx context.Context, err error) error {
	var s *storage.Error
	switch {
	case ctx.Err() != nil:
		return nil
	case storage.Is(err, work.NotFound): // also if the whole folder of a target is still to be made
	case errors.As(err, &s) && s.Fault == work.Transient && !s.Unreachable:
		away := *s
		away.Unreachable, away.Hint = true, storage.UnreachableHint
		e.gate.broke(&away)
		return &away
	case err != nil && refusal(e.note(err)):
		return err
	}
	e.fine()
	return nil
}

// away returns why nobody may ask the store now, nil if that is not because it
// is away.
func (g *gate) away() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken == nil || !g.broken.Unreachable || g.single || !time.Now().Before(g.until) {
		return nil
	}
	return g.broken
}
