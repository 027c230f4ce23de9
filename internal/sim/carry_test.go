package sim

import (
	"fmt"

	"github.com/tranship/tranship/internal/work"
)

// What an agent does with objects. As the real one it looks at the target
// before it reads the source, and writes only over what it saw there: so one
// that comes back late never puts an older version in the place of a newer.

// object is the one that is worked on.
func (h *hand) object() work.Object { return h.item.Objects[h.n] }

// look begins an object: it looks at the target, if something may stand there
// already.
func (h *hand) look() {
	if why := h.stopped(); why != "" {
		h.put(why)
		return
	}
	o := h.object()
	h.seen = h.target.stat(o.Key)
	h.next = h.read
	if !h.again && !o.Check || h.seen == 0 {
		return
	}
	is, fault := h.source.read(o.Key, o.ETag)
	switch {
	case fault != "":
		h.outcome(badly(fault))
	case is.version != h.seen:
	case h.again:
		h.outcome(work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Checksum: proof(h.seen)})
	default:
		h.outcome(work.ObjectOutcome{Outcome: work.Skipped, Reason: "etag", Checksum: proof(h.seen)})
	}
}

// read reads the version that was listed, or the one that is there.
func (h *hand) read() {
	is, fault := h.source.read(h.object().Key, h.object().ETag)
	h.is = is
	switch {
	case fault != "":
		h.outcome(badly(fault))
	case h.item.Kind == work.Begin && is.size >= splitSize:
		h.next = h.begin
	default:
		h.next = h.write
	}
}

// write stores what was read, perhaps much later.
func (h *hand) write() {
	key := h.object().Key
	h.moved += h.is.size
	switch {
	case !h.target.put(key, h.is.version, h.is.size, h.seen):
		h.source.blame(key, work.Transient)
		h.outcome(badly(work.Transient))
	case h.chance(h.odds.unheard):
		h.logf("%s: %q version %d written, but told it failed", h.name, key, h.is.version)
		h.source.blame(key, work.Transient)
		h.outcome(badly(work.Transient))
	default:
		h.outcome(work.ObjectOutcome{Outcome: work.Copied, Checksum: proof(h.is.version)})
	}
}

// outcome ends an object, and the item with the last.
func (h *hand) outcome(o work.ObjectOutcome) {
	h.outcomes[h.n] = o
	h.n++
	h.next = h.look
	if h.n == len(h.outcomes) {
		h.end(work.Result{Outcomes: h.outcomes})
	}
}

// badly is the outcome of an object that failed.
func badly(f work.Fault) work.ObjectOutcome {
	o := work.ObjectOutcome{Outcome: work.Failed, Fault: f, Error: "simulated: " + string(f)}
	switch {
	case f == work.SrcChanged:
		o.Outcome = work.Changed
	case f.Retryable():
		o.Outcome = work.Retry
	}
	return o
}

// begin opens an upload. One that an earlier attempt opened and that holds
// nothing is swept away first.
func (h *hand) begin() {
	key := h.object().Key
	if h.item.Attempt > 1 {
		h.target.sweep(key)
	}
	id := h.target.begin(key, h.is)
	if h.chance(h.odds.unheard) {
		h.source.blame(key, work.Transient)
		h.outcome(badly(work.Transient))
		return
	}
	h.uploaded = true
	h.end(work.Result{
		Object: &work.Object{Key: key, Size: h.is.size, ETag: h.is.etag()},
		Upload: &work.Upload{ID: id, Part: partSize, Repeated: h.again},
	})
}

// readPart reads a part of the version that its upload is of.
func (h *hand) readPart() {
	if why := h.stopped(); why != "" {
		h.put(why)
		return
	}
	is, fault := h.source.read(h.object().Key, h.object().ETag)
	if fault != "" {
		h.fail(fault, "simulated: "+string(fault))
		return
	}
	h.is = is
	h.next = h.writePart
}

func (h *hand) writePart() {
	u := h.target.uploads[h.item.Upload.ID]
	if u == nil || !u.open {
		h.goneAway()
		return
	}
	u.parts[h.item.N] = h.is.version
	h.moved += partSize
	if h.chance(h.odds.unheard) {
		h.source.blame(h.object().Key, work.Transient)
		h.fail(work.Transient, "simulated: not told")
		return
	}
	h.end(work.Result{Part: &work.StoredPart{N: h.item.N, Tag: fmt.Sprintf("%s-%d", h.item.Upload.ID, h.item.N)}})
}

// goneAway reports that the target does not know the upload any more.
func (h *hand) goneAway() {
	h.source.blame(h.object().Key, work.Transient)
	h.end(work.Result{Fault: work.Transient, Error: "simulated: the upload is gone", Gone: true})
}

// lookWhole begins a finish.
func (h *hand) lookWhole() {
	if why := h.stopped(); why != "" {
		h.put(why)
		return
	}
	o := h.object()
	h.seen = h.target.stat(o.Key)
	is, fault := h.source.read(o.Key, o.ETag)
	if fault != "" {
		h.outcome(badly(fault))
		return
	}
	h.is = is
	h.next = h.commit
}

// commit puts the parts together, or finds that it was done before.
func (h *hand) commit() {
	o := h.object()
	ok, gone := h.target.commit(*h.item.Upload, h.item.Parts, h.seen)
	switch {
	case gone && h.again && h.target.stat(o.Key) == h.is.version:
		h.outcome(work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Checksum: proof(h.is.version)})
	case gone:
		h.goneAway()
	case !ok || h.chance(h.odds.unheard):
		h.source.blame(o.Key, work.Transient)
		h.outcome(badly(work.Transient))
	default:
		if h.item.Upload.Repeated {
			h.target.sweep(o.Key)
		}
		h.outcome(work.ObjectOutcome{Outcome: work.Copied, Checksum: proof(h.is.version)})
	}
}

// abort gives up an upload.
func (h *hand) abort() {
	if why := h.stopped(); why != "" {
		h.put(why)
		return
	}
	if fault := h.target.abort(h.item.Upload.ID); fault != "" {
		h.fail(fault, "simulated: not aborted")
		return
	}
	h.end(work.Result{})
}

// brief shows a result in a line.
func brief(r work.Result) string {
	switch {
	case r.Fault != "":
		return fmt.Sprintf("%s: %s", r.Fault, r.Error)
	case r.Page != nil:
		return fmt.Sprintf("page (%q, %q], %d found, last %t, rest %d", r.Page.After, r.Page.Upto, len(r.Page.Found), r.Page.Last, len(r.Page.Rest))
	case r.Upload != nil:
		return "upload " + r.Upload.ID
	case r.Part != nil:
		return "part " + r.Part.Tag
	}
	text := ""
	for _, o := range r.Outcomes {
		text += fmt.Sprintf(" %s%s%s", o.Outcome, o.Fault, o.Checksum)
	}
	return text
}
