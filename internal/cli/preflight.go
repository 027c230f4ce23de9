package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A preflight is what a dry run finds out. The names in its JSON are stable.
type preflight struct {
	Report    work.Report `json:"report"` // as a job has it
	Plan      []dryTally  `json:"plan"`
	Big       bigTally    `json:"big"`
	Inspected int64       `json:"inspected"` // objects that were looked at for their metadata
	Findings  []*finding  `json:"findings"`
}

// A dryTally is how much of a copy would be treated alike.
type dryTally struct {
	Action  string `json:"action"` // copy, skip or compare
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Why     string `json:"why"`
}

// A bigTally is how much travels in parts.
type bigTally struct {
	From    int64 `json:"from"` // bytes of the smallest such object
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// A checker goes through the keys of both ends and counts what would be done
// and what does not fit. It asks the stores nothing but what the target's
// Keeper does.
type checker struct {
	source, target storage.Store
	options        work.Options
	keeper         storage.Keeper // nil: the target holds any key
	most           int64          // size of the largest object that the target takes
	folders        bool           // the target's keys are paths

	absent, differs, again, unsure, same dryTally

	big      bigTally
	found    *findings
	inspect  *sample[storage.Info]
	collider collider
}

func newChecker(source, target storage.Store, o work.Options, inspect int) *checker {
	c := &checker{
		source: source, target: target, options: o, most: largest(target), folders: target.Traits().Name == "file",
		absent:  dryTally{Action: "copy", Why: "not at the target"},
		differs: dryTally{Action: "copy", Why: "another size at the target"},
		again:   dryTally{Action: "copy", Why: "everything is copied anew"},
		unsure:  dryTally{Action: "compare", Why: "same size; the content decides"},
		same:    dryTally{Action: "skip", Why: "the same at the target"},
		big:     bigTally{From: o.Split}, found: newFindings(o.Carry), inspect: newSample[storage.Info](inspect),
	}
	if c.big.From == 0 {
		c.big.From = work.SplitSize
	}
	c.keeper, _ = target.(storage.Keeper)
	return c
}

// largest returns the size of the largest object that a store takes.
func largest(s storage.Store) int64 {
	m, ok := s.(storage.Multipart)
	if !ok {
		if most := s.Traits().MaxPut; most > 0 {
			return most
		}
		return math.MaxInt64
	}
	l := m.Limits()
	most, parts := l.MaxObject, int64(min(l.MaxParts, work.MaxParts))
	if most == 0 {
		most = math.MaxInt64
	}
	if l.MaxPart > 0 && parts > 0 && l.MaxPart < most/parts {
		most = l.MaxPart * parts
	}
	return most
}

// check counts one key of either end. An error means that it is not known
// whether the target can hold it.
func (c *checker) check(ctx context.Context, p pair) error {
	write := false
	if p.source != nil {
		t := c.tally(*p.source, p.target)
		t.Objects++
		t.Bytes += p.source.Size
		if t != &c.same {
			var err error
			if write, err = c.fits(ctx, *p.source); err != nil {
				return err
			}
		}
	}
	if !c.folders {
		return nil
	}
	var size int64
	if p.source != nil {
		size = p.source.Size
	}
	for _, h := range c.collider.meet(p.key, size, write, p.target != nil) {
		c.note(work.FieldKeys, "one key is a folder of the other: a folder and a file cannot have the same name", h.key, h.size)
	}
	return nil
}

// tally returns where an object of the source is counted.
func (c *checker) tally(src storage.Info, dst *storage.Info) *dryTally {
	switch {
	case dst == nil:
		return &c.absent
	case c.options.Compare == work.CompareNone:
		return &c.again
	case dst.Size != src.Size:
		return &c.differs
	case c.options.Compare == work.CompareSize || sameETag(c.source, c.target, src, *dst):
		return &c.same
	}
	return &c.unsure
}

// sameETag reports whether both ends vouch for the same content.
func sameETag(source, target storage.Store, a, b storage.Info) bool {
	return source.Traits().ETagIsMD5 && target.Traits().ETagIsMD5 && len(a.ETag) == 32 && a.ETag == b.ETag
}

// fits reports whether an object can be written, and notes why not.
func (c *checker) fits(ctx context.Context, o storage.Info) (bool, error) {
	if o.Archived {
		c.note(work.FieldArchived, archivedWhy, o.Key, o.Size)
		return false, nil
	}
	if c.keeper != nil {
		why, err := refusal(c.keeper.Keeps(ctx, o.Key))
		if err != nil {
			return false, err
		}
		if why != "" {
			c.note(work.FieldKeys, why, o.Key, o.Size)
			return false, nil
		}
	}
	if o.Size > c.most {
		c.note(fieldSize, "the target takes up to "+bytesText(c.most), o.Key, o.Size)
		return false, nil
	}
	if c.options.KindFor(o.Size) == work.Begin {
		c.big.Objects++
		c.big.Bytes += o.Size
	}
	c.inspect.add(o)
	return true, nil
}

const archivedWhy = "it must be restored before it can be read"

func (c *checker) note(field work.Field, why, key string, size int64) {
	c.found.add(alike{field: field, why: why}, why, key, size)
}

// refusal returns why a Keeper refuses a key; "" if it does not. That the store
// is not there yet is no answer.
func refusal(err error) (string, error) {
	var e *storage.Error
	switch {
	case err == nil, storage.Is(err, work.NotFound):
		return "", nil
	case errors.As(err, &e) && e.Fault == work.Unsupported:
		return e.Err.Error(), nil
	}
	return "", err
}

// plan returns what would be done, without what there is nothing of.
func (c *checker) plan() []dryTally {
	none := func(t dryTally) bool { return t.Objects == 0 }
	return slices.DeleteFunc([]dryTally{c.absent, c.differs, c.again, c.unsure, c.same}, none)
}

// verdict returns why the job would not succeed, nil if nothing speaks against
// it.
func (p *preflight) verdict() error {
	const next = "skip or drop as the policy of a field lets the rest go on: see --carry in tranship copy --help"
	for _, l := range p.Report.Losses {
		if l.Policy == work.PolicyFail {
			return fail(ExitFailed, fmt.Errorf("the job would fail at its start: the target cannot hold %s, and its policy is fail", l.Field), next)
		}
	}
	for _, f := range p.Findings {
		if f.Policy != work.PolicyFail {
			continue
		}
		among := ""
		if f.Sampled {
			among = fmt.Sprintf(" of %s that were looked at", count(p.Inspected))
		}
		err := fmt.Errorf("objects would fail: %s%s because of %s: %s", count(f.Objects), among, work.Quote(f.about()), work.Quote(f.Why))
		if f.Field == fieldSize || f.Field == fieldRead {
			return fail(ExitFailed, err, "the others would be copied")
		}
		return fail(ExitFailed, err, next)
	}
	return nil
}
