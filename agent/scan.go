package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Limits of what a scan says at once and altogether.
const (
	pageObjects = 1000
	pageBytes   = 512 << 10 // of JSON: half of what the queue takes
	scanPages   = 20        // then the rest of the range is handed on
)

// errEnough ends a listing of which the last page was reported.
var errEnough = errors.New("enough listed")

// A scan is the listing of one range, joined with that of the target. It is
// owned by one stream.
type scan struct {
	*Agent
	held   *held
	flight *flight
	ctx    context.Context
	target *listing // nil: nothing is compared

	cursor      string // the key up to which pages were reported
	first, last string // keys that were seen
	pages       int
	found       []work.Found
	size        int // of their JSON, at most
	began       time.Time
	unlike      bool // the target's ETags cannot be compared with the source's
	turn        turn
	keeper      storage.Keeper // nil: the target does not say which keys it holds
	about       *work.Report   // of the stores, to go with the next page
}

// scan lists the item's range and reports it page by page. When it returns
// nil, the last page was reported.
func (a *Agent) scan(ctx context.Context, h *held, f *flight) error {
	if err := f.patiently(func() error { return a.scans.Acquire(ctx, 1) }); err != nil {
		return context.Cause(ctx)
	}
	defer a.scans.Release(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	r := *h.item.Range
	s := &scan{Agent: a, held: h, flight: f, ctx: ctx, cursor: r.After, last: r.After, began: time.Now()}
	if err := s.run(r); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// run lists the range. While a store refuses to be asked it waits, and goes on
// where it was.
func (s *scan) run(r work.Range) error {
	src, dst := s.held.pair.src, s.held.pair.dst
	ends := []*end{src, dst}
	if r.After == "" {
		err := s.turn.insist(s.ctx, s.carrier, s.flight, ends, func() (err error) {
			return s.flight.patiently(func() error {
				s.about, err = s.held.pair.survey(s.ctx, s.held.item.Options)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	s.unlike = !src.Traits().ETagIsMD5 || !dst.Traits().ETagIsMD5
	s.keeper, _ = dst.Store.(storage.Keeper)
	if s.held.item.Options.Compare != work.CompareNone {
		s.target = list(s.ctx, dst, r, s.carrier, s.flight)
		defer s.target.close()
	}
	err := s.turn.insist(s.ctx, s.carrier, s.flight, ends, func() error {
		return src.note(src.List(s.ctx, work.Range{After: s.last, Upto: r.Upto}, s.page))
	})
	if err != nil {
		return err
	}
	return s.report(work.Page{Range: work.Range{After: s.cursor, Upto: r.Upto}, Last: true})
}

// page takes in a page of the source's listing.
func (s *scan) page(infos []storage.Info) error {
	s.flight.alive()
	s.turn.served()
	s.held.pair.src.fine()
	for _, in := range infos {
		if in.Key <= s.last && (s.last != "" || in.Key == "") {
			return disorder(s.held.pair.src, s.last, in.Key)
		}
		f, err := s.classify(in)
		if err != nil {
			return err
		}
		n := f.WireSize()
		if len(s.found) == pageObjects || s.size+n > pageBytes {
			if err := s.flush(); err != nil {
				return err
			}
		}
		if s.first == "" {
			s.first = in.Key
		}
		s.found, s.size, s.last = append(s.found, f), s.size+n, in.Key
	}
	if len(s.found) > 0 && s.hurried() {
		return s.flush()
	}
	return nil
}

// hurried reports whether the scan should come to an end: what it has not
// listed yet it then leaves to other items.
func (s *scan) hurried() bool { return s.held.taking.Err() != nil || s.held.starting.Err() != nil }

// flush reports what was found since the page before. It returns errEnough if
// that was the last page.
func (s *scan) flush() error {
	s.pages++
	p := work.Page{Range: work.Range{After: s.cursor, Upto: s.last}}
	if s.pages == scanPages || s.hurried() {
		p.Last = true
		p.Rest = leave(s.first, s.last, s.held.item.Range.Upto)
	}
	if err := s.report(p); err != nil {
		return err
	}
	if p.Last {
		return errEnough
	}
	return nil
}

// report stores a page with what was found. The next begins where it ends.
func (s *scan) report(p work.Page) error {
	p.Found = s.found
	r := s.held.newResult()
	r.Page, r.Report, r.TookMS = &p, s.about, time.Since(s.began).Milliseconds()
	if err := s.bus.Report(s.ctx, s.cfg.Site, s.cfg.Name, *r); err != nil {
		return err
	}
	s.about = nil
	s.metrics.pages.Inc()
	s.flight.alive()
	s.cursor, s.found, s.size, s.began = p.Upto, s.found[:0], 0, time.Now()
	return nil
}

// classify decides what has to be done for an object.
func (s *scan) classify(in storage.Info) (work.Found, error) {
	f := work.Found{Object: work.Object{Key: in.Key, Size: in.Size, ETag: in.ETag, ModTime: in.ModTime}}
	var stands bool
	if s.target != nil {
		var err error
		if stands, err = s.compare(in, &f); err != nil {
			return f, err
		}
	}
	if f.Skip == "" {
		s.bar(in, &f)
	}
	f.Check = f.Check || stands && f.Skip == "" && f.Fail == ""
	return f, nil
}

// compare decides in view of what the target lists under the object's key. It
// reports whether something else stands there, which is looked at before it is
// replaced.
func (s *scan) compare(in storage.Info, f *work.Found) (stands bool, err error) {
	there, ok, err := s.target.find(s.ctx, in.Key)
	switch {
	case err != nil:
		return false, err
	case s.target.unknown:
		f.Check = true
	case !ok:
	case there.size != in.Size:
		return true, nil
	case s.held.item.Options.Compare == work.CompareSize:
		f.Skip = "size"
	case !s.unlike && md5Of(in.ETag) != nil && in.ETag == there.etag:
		f.Skip = "etag"
	default:
		f.Check = true // other ETags do not prove other content
	}
	return false, nil
}

// bar finds out whether an object cannot be copied: because the target cannot
// hold its key, or because it is archived. One that may stand at the target
// already is compared first, for which it need not be restored. Whatever else
// is wrong, the copy will tell.
func (s *scan) bar(in storage.Info, f *work.Found) {
	var field work.Field
	var err error
	if s.keeper != nil {
		field, err = work.FieldKeys, s.keeper.Keeps(s.ctx, in.Key)
	}
	if !storage.Is(err, work.Unsupported) {
		if !in.Archived || f.Check {
			return
		}
		field, err = work.FieldArchived, archivedAt(s.held.pair.src, in.Key)
	}
	f.Check = false
	if s.held.item.Options.Carry.For(field) == work.PolicySkip {
		f.Skip = string(field)
		return
	}
	f.Fail = textOf(advised(err, field))
}

// disorder is the error of a listing that would lose objects.
func disorder(e *end, last, key string) error {
	return &storage.Error{Op: "list", Store: e.url, Fault: work.Unsupported,
		Err: fmt.Errorf("%s came after %s: the listing is not in the order of bytes", work.Quote(key), work.Quote(last))}
}
