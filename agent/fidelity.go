package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	// mostNames is how many names of a field are reported as left behind one by
	// one; of more, only the field is.
	mostNames = 8
	// longestName bounds such a name, in bytes.
	longestName = 64
)

// metadata returns what is to be stored with the object in, of which the
// source has said everything it knows. What the target cannot hold is left out
// and noted for the outcome, or is an error, as the job's policies have it: see
// ruled.
func (t *transfer) metadata(ctx context.Context, in storage.Info) (storage.Meta, error) {
	t.dropped = ""
	meta := in.Meta
	meta.Class = t.options.Class.Map(meta.Class)
	var lost []storage.Misfit
	if in.TagCount > 0 {
		why, err := t.tags(ctx, &meta)
		if err != nil {
			return meta, err
		}
		if why != "" {
			lost = append(lost, storage.Misfit{Field: work.FieldTags, Why: why})
		}
	}
	meta, more := storage.Fit(t.dst.Store, t.without(meta))
	return meta, t.leave(slices.Concat(t.misfits, lost, more))
}

// classify adds the storage class, if it is wanted, to what a Get said: some
// stores tell it to Stat alone.
func (t *transfer) classify(ctx context.Context, got *storage.Info) error {
	if t.options.Class == "" || got.Meta.Class != "" || !t.src.Traits().Meta.Class {
		return nil
	}
	in, err := t.pin(ctx)
	got.Meta.Class = in.Meta.Class
	return err
}

// tags reads the tags of the object. If that cannot be done or is in vain, it
// says why.
func (t *transfer) tags(ctx context.Context, meta *storage.Meta) (why string, err error) {
	tagger, ok := t.src.Store.(storage.Tagger)
	switch {
	case !t.dst.Traits().Meta.Tags:
		return "the store has no place for it", nil
	case !ok:
		return "they cannot be read from the source", nil
	}
	if err := t.src.asks(ctx); err != nil {
		return "", err
	}
	found, err := tagger.Tags(ctx, t.obj.Key)
	switch {
	case err == nil:
		meta.Tags = found
		return "", nil
	case forbidden(err):
		return fmt.Sprintf("they cannot be read from the source: %v", err), nil
	}
	return "", t.from(err)
}

// copiedMetadata is metadata for a copy that the target makes by itself. What
// is known of the object goes along then as it is, tags too; only the storage
// class is chosen, and what a store of that kind has no place for is lost.
func (t *transfer) copiedMetadata(in storage.Info) (storage.Meta, error) {
	t.dropped = ""
	meta := in.Meta
	meta.Class = ""
	var lost []storage.Misfit
	if in.TagCount > 0 && !t.dst.Traits().Meta.Tags {
		lost = append(lost, storage.Misfit{Field: work.FieldTags, Why: "the store has no place for it"})
	}
	meta, more := storage.Fit(unparticular{t.dst.Store}, meta)
	class, most := storage.Fit(t.dst.Store, storage.Meta{Class: t.options.Class.Map(in.Meta.Class)})
	meta.Class = class.Class
	return meta, t.leave(slices.Concat(lost, more, most))
}

// unparticular hides that a store is a Fitter.
type unparticular struct{ storage.Store }

// leave applies the policies to what the target cannot hold of the object. It
// notes what is dropped, or returns the error of what must not be.
func (t *transfer) leave(lost []storage.Misfit) error {
	var misfit storage.Misfit
	worst := work.PolicyDrop
	for _, m := range lost {
		switch p := t.options.Carry.For(m.Field); {
		case p == work.PolicyFail && worst != p, p == work.PolicySkip && worst == work.PolicyDrop:
			worst, misfit = p, m
		}
	}
	if worst != work.PolicyDrop {
		return unfit(t.dst, t.obj.Key, misfit)
	}
	t.dropped = droppedOf(lost)
	return nil
}

// unfit is the error of an object that must not be copied without a field.
func unfit(at *end, key string, m storage.Misfit) error {
	what := string(m.Field)
	if m.Name != "" {
		what += " " + work.Quote(m.Name)
	}
	return &storage.Error{Op: "fit", Store: at.url, Key: key, Fault: work.Unsupported, Field: m.Field,
		Hint: choices(m.Field), Err: fmt.Errorf("%s would be lost: %s", what, m.Why)}
}

// choices names the policies that would let a job go on without a field.
func choices(f work.Field) string {
	if f == work.FieldKeys || f == work.FieldArchived {
		return fmt.Sprintf("choose %s=skip to leave such objects out", f)
	}
	return fmt.Sprintf("choose %s=drop to copy without, or %s=skip to leave such objects out", f, f)
}

// advised adds to a store's error what the user can choose, unless it says
// already what can be done.
func advised(err error, f work.Field) error {
	e, ok := err.(*storage.Error)
	if !ok || e.Hint != "" {
		return err
	}
	more := *e
	more.Hint = choices(f)
	return &more
}

// archived returns an error if the object must be restored before it can be
// read.
func (t *transfer) archived(in storage.Info) error {
	if !in.Archived {
		return nil
	}
	return archivedAt(t.src, in.Key)
}

func archivedAt(at *end, key string) error {
	return &storage.Error{Op: "read", Store: at.url, Key: key, Fault: work.Unsupported, Field: work.FieldArchived,
		Hint: "restore it first, or " + choices(work.FieldArchived), Err: errors.New("the object is archived")}
}

// droppable reports whether the target's server has refused a field of the
// metadata that may be dropped, and has it left out from now on.
func (t *transfer) droppable(err error) bool {
	var e *storage.Error
	if !errors.As(err, &e) || e.Fault != work.Unsupported || e.Field == "" || t.options.Carry.For(e.Field) != work.PolicyDrop {
		return false
	}
	for _, m := range t.misfits {
		if m.Field == e.Field {
			return false // it is something else
		}
	}
	t.misfits = append(t.misfits, storage.Misfit{Field: e.Field, Why: "the server refuses it"})
	return true
}

// without leaves out of m what the target's server has refused.
func (t *transfer) without(m storage.Meta) storage.Meta {
	for _, lost := range t.misfits {
		switch lost.Field {
		case work.FieldHeaders:
			m.ContentType, m.ContentEncoding, m.ContentLanguage, m.ContentDisposition, m.CacheControl = "", "", "", "", ""
		case work.FieldMetadata:
			m.User = nil
		case work.FieldTags:
			m.Tags = nil
		case work.FieldClass:
			m.Class = ""
		case work.FieldMTime:
			m.ModTime = time.Time{}
		}
	}
	return m
}

// union joins two lists of what was dropped.
func union(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	all := strings.Split(a+","+b, ",")
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

// ruled makes the error of an object that cannot be had whole its outcome, if
// the job's policy for what stands in the way is to skip the object.
func (t *transfer) ruled(err error) (work.ObjectOutcome, error) {
	var e *storage.Error
	if errors.As(err, &e) && e.Fault == work.Unsupported && e.Field != "" {
		switch t.options.Carry.For(e.Field) {
		case work.PolicySkip:
			return work.ObjectOutcome{Outcome: work.Skipped, Reason: string(e.Field)}, nil
		case work.PolicyFail:
			err = advised(err, e.Field)
		}
	}
	return work.ObjectOutcome{}, err
}

// droppedOf writes what was left behind as an outcome carries it: each field,
// or the names in it as far as they are few and short.
func droppedOf(lost []storage.Misfit) string {
	count := map[work.Field]int{}
	for _, m := range lost {
		count[m.Field]++
		if m.Name == "" || len(m.Name) > longestName || strings.Contains(m.Name, ",") || !work.IsText(m.Name) {
			count[m.Field] = mostNames + 1 // the field as a whole
		}
	}
	var all []string
	for _, m := range lost {
		text := string(m.Field)
		if count[m.Field] <= mostNames {
			text += ":" + m.Name
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}
