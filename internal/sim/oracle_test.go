package sim

import (
	"maps"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// over reports whether nothing is on its way any more.
func (w *world) over() bool {
	for _, a := range w.agents {
		if len(a.hands) > 0 {
			return false
		}
	}
	if len(w.queue.results.messages)+len(w.queue.work.messages) > 0 {
		return false
	}
	j, err := w.ledger.Job(w.ctx, w.job)
	if err != nil {
		w.breaks("read the job: %v", err)
		return false
	}
	if j.State.Open() || j.FinishedAt.IsZero() {
		return false
	}
	n, err := w.ledger.Uploads(w.ctx)
	if err != nil {
		w.breaks("count uploads: %v", err)
	}
	return n["open"]+n["abandoned"]+n["aborting"] == 0
}

// stuck says what keeps the story from its end.
func (w *world) stuck() {
	j, _ := w.ledger.Job(w.ctx, w.job)
	b, _ := w.ledger.Balance(w.ctx, w.job)
	n, _ := w.ledger.Uploads(w.ctx)
	w.breaks("the job does not come to its end: it is %s (%s), %+v, %d items open, uploads %v, on the queue %d items and %d results",
		j.State, j.Error, j.Counts, b.OpenItems, n, len(w.queue.work.messages), len(w.queue.results.messages))
}

// judge compares what the ledger says at the end with what happened.
func (w *world) judge() {
	j, err := w.ledger.Job(w.ctx, w.job)
	if err != nil {
		w.breaks("read the job: %v", err)
		return
	}
	b, err := w.ledger.Balance(w.ctx, w.job)
	if err != nil {
		w.breaks("read the balance: %v", err)
		return
	}
	rows, failures := w.rows(), w.failures()
	switch {
	case w.wrong != "":
		return
	case !b.Holds() || b.OpenItems != 0:
		w.breaks("the balance does not hold: %+v", b)
	case w.guard.canceled:
		if j.State != work.Canceled || j.Counts != w.guard.frozen {
			w.breaks("the job was canceled with %+v and is %s with %+v", w.guard.frozen, j.State, j.Counts)
		}
	default:
		w.judgeEnd(j, rows)
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		w.judgeObject(j, key, rows[key], failures[key])
	}
	for _, id := range slices.Sorted(maps.Keys(w.target.uploads)) {
		if u := w.target.uploads[id]; u.open && u.recorded && u.refusals < w.attempts {
			w.breaks("upload %s of %q is left at the target", id, u.key)
		}
	}
}

// judgeEnd holds how the job ended against what there was to do.
func (w *world) judgeEnd(j work.Job, rows map[string][]work.ObjectRow) {
	var is work.Counts
	for _, all := range rows {
		for _, r := range all {
			is.Planned++
			is.PlannedBytes += r.Size
			if r.Outcome != work.Failed {
				is.DoneBytes += r.Size
			}
			switch r.Outcome {
			case work.Copied:
				is.Copied++
			case work.Skipped:
				is.Skipped++
			case work.Failed:
				is.Failed++
			default:
				w.breaks("%q has outcome %q in a job that is %s", r.Key, r.Outcome, j.State)
			}
		}
	}
	is.Retries, is.MovedBytes = j.Retries, w.guard.moved // how often is up to what happened
	if j.Counts != is {
		w.breaks("the job counts %+v, there are %+v", j.Counts, is)
	}
	want := work.Succeeded
	if is.Failed > 0 {
		want = work.Incomplete
	}
	if j.State == work.JobFailed && w.source.wasUnlisted {
		return // what was not listed is not there
	}
	if j.State != want {
		w.breaks("the job is %s, want %s: %s", j.State, want, j.Error)
	}
	for _, key := range w.source.keys() {
		if w.source.objects[key].version > 0 && !w.source.objects[key].lively && !w.source.objects[key].late && len(rows[key]) == 0 {
			w.breaks("%q was never planned, and the job is %s", key, j.State)
		}
	}
}

// judgeObject holds an outcome against what happened.
func (w *world) judgeObject(j work.Job, key string, rows []work.ObjectRow, failure *work.Failure) {
	if len(rows) != 1 {
		w.breaks("%q has %d outcomes: %+v", key, len(rows), rows)
		return
	}
	r, o, there := rows[0], w.source.objects[key], w.target.objects[key]
	if (r.Outcome == work.Failed) != (failure != nil) {
		w.breaks("%q is %q and has the failure %+v", key, r.Outcome, failure)
		return
	}
	switch r.Outcome {
	case work.Copied, work.Skipped:
		want := versionOf(r.Checksum)
		if r.Outcome == work.Skipped && r.Checksum == "" { // by the listing
			want = versionOf(r.ETag)
		}
		switch {
		case there == nil:
			w.breaks("%q is %s and is not at the target", key, r.Outcome)
		case want == 0 || there.version < want || there.version > o.version && !o.gone:
			w.breaks("%q is %s as version %d, the target has %d, the source %d", key, r.Outcome, want, there.version, o.version)
		}
	case work.Failed:
		w.judgeFailure(key, o, *failure)
	default:
		if !w.guard.canceled {
			w.breaks("%q is open in a job that is %s", key, j.State)
		}
	}
}

// judgeFailure asks whether the world made the object fail, and often enough.
func (w *world) judgeFailure(key string, o *object, f work.Failure) {
	tries := 0
	for fault, n := range o.made {
		if fault.Retryable() && fault != work.Throttled {
			tries += n
		}
	}
	switch {
	case o.made[f.Fault] == 0:
		w.breaks("%q failed as %s, which never happened: %s", key, f.Fault, f.Message)
	case f.Fault == work.Throttled:
		w.breaks("%q was given up because a store asked to slow down: %s", key, f.Message)
	case f.Fault.Retryable() && tries < w.attempts:
		w.breaks("%q was given up as %s after %d tries: %s", key, f.Fault, tries, f.Message)
	case f.Fault.Retryable() && f.Attempts < w.attempts && !strings.HasPrefix(f.Message, "part "):
		w.breaks("%q was given up as %s at attempt %d: %s", key, f.Fault, f.Attempts, f.Message)
	}
}

// rows returns what the ledger says of each object.
func (w *world) rows() map[string][]work.ObjectRow {
	all := map[string][]work.ObjectRow{}
	for q := (work.ObjectQuery{Job: w.job}); ; {
		page, next, err := w.ledger.Objects(w.ctx, q)
		if err != nil {
			w.breaks("list objects: %v", err)
			return nil
		}
		for _, r := range page {
			if r.Outcome == work.Copied || r.Outcome == work.Skipped || r.Outcome == work.Failed || r.Outcome == "" {
				all[r.Key] = append(all[r.Key], r)
			}
		}
		if q.Cursor = next; next == "" {
			return all
		}
	}
}

func (w *world) failures() map[string]*work.Failure {
	all := map[string]*work.Failure{}
	for q := (work.FailureQuery{Job: w.job}); ; {
		page, next, err := w.ledger.Failures(w.ctx, q)
		if err != nil {
			w.breaks("list failures: %v", err)
			return nil
		}
		for _, f := range page {
			if all[f.Key] != nil {
				w.breaks("%q failed twice: %+v, %+v", f.Key, *all[f.Key], f)
			}
			all[f.Key] = &f
		}
		if q.Cursor = next; next == "" {
			return all
		}
	}
}
