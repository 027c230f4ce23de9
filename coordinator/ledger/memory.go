package ledger

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Memory keeps the rules of a Ledger without a database, so that a simulator
// can live through thousands of histories a minute. Its methods are named like
// those of a Ledger, take and return the same, and promise the same, but that
// nothing outlives the Memory.
//
// What is decided in memory anyway is the same code: what a result changes
// (batch), who gets which part of a window (share, inTurns), what is tried
// again (doneItem), how a job ends (endOf). What a Ledger does in SQL is done
// here once more, and a test holds the two against each other, step by step:
// whoever changes a rule in SQL changes it here. Values are kept as they would
// come back from the database. It has no constraints: what a database would
// refuse, it keeps.
//
// It is deterministic. Ids are given in order, from 1, and time stands still
// but for Advance and a microsecond a call, which keeps the order in which
// things were done. It is safe for concurrent use, and does one call at a time.
type Memory struct {
	log *slog.Logger

	mu      sync.Mutex
	clock   time.Time
	jobs    []*memoryJob  // job n at n-1; nil: a number that no job has
	items   []*memoryItem // item n at n-1
	uploads []*upload     // upload n at n-1
	events  []work.Event  // event n at n-1
	failed  int64         // number of the last failure
}

// NewMemory returns an empty ledger. What it refuses it tells log; nil: nobody.
func NewMemory(log *slog.Logger) *Memory {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Memory{log: log, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// Advance lets d pass. A negative d sets the clock back.
func (m *Memory) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = m.clock.Add(d.Truncate(time.Microsecond))
}

// begin begins what would be a transaction and returns the moment at which it
// happens. The caller defers m.mu.Unlock.
func (m *Memory) begin() (now time.Time) {
	m.mu.Lock()
	m.clock = m.clock.Add(time.Microsecond)
	return m.clock
}

// longAgo is what looked_at is when nothing at all is known.
var longAgo = time.Time{}.Add(time.Microsecond)

// A memoryJob is a job with all that belongs to it. Times that are zero stand
// for NULL, here and in what follows.
type memoryJob struct {
	work.Job
	idem      work.Idempotency
	checkedAt time.Time
	items     []*memoryItem
	failures  []memoryFailure
	remarks   map[remark]*remarkCount
}

// A memoryFailure is an object that was given up.
type memoryFailure struct {
	id       int64
	position int
	work.Failure
}

// A memoryItem is a row of items. The slices in it are never written to.
type memoryItem struct {
	job       *memoryJob
	id        work.ItemID
	kind      work.Kind
	site      string
	state     work.ItemState
	epoch     int
	attempt   int
	notBefore time.Time
	bytes     int64
	span      *work.Range // of a scan: what is still to be listed
	objects   []work.Object
	tally     tally
	kept      kept
	agent     string
	fault     work.Fault
	reason    string // why it is dead
	upload    *upload
	n         int
	suspect   bool
	parent    work.ItemID
	lookedAt  time.Time
	doneAt    time.Time
}

// job returns a job, nil if there is none.
func (m *Memory) job(id work.JobID) *memoryJob {
	if id < 1 || int(id) > len(m.jobs) {
		return nil
	}
	return m.jobs[id-1]
}

// item returns an item, nil if there is none.
func (m *Memory) item(id work.ItemID) *memoryItem {
	if id < 1 || int(id) > len(m.items) {
		return nil
	}
	return m.items[id-1]
}

// isOpen reports whether the item waits, is ready or queued.
func (it *memoryItem) isOpen() bool {
	return it.state == work.Waiting || it.isOut()
}

// isOut reports whether the item is ready or queued.
func (it *memoryItem) isOut() bool { return it.state == work.Ready || it.state == work.Queued }

// isDue reports whether the item may be handed out.
func (it *memoryItem) isDue(now time.Time) bool {
	return it.state == work.Ready && !it.notBefore.After(now)
}

// row returns the item as a query does, without what is JSON there.
func (it *memoryItem) row() itemRow {
	r := itemRow{
		Job: it.job.ID, ID: it.id, Kind: it.kind, Class: it.job.Class, Site: it.site, Epoch: it.epoch, Attempt: it.attempt,
		Source: it.job.Source, Target: it.job.Target, N: it.n, Suspect: it.suspect,
	}
	if it.upload != nil {
		r.Upload = sql.NullInt64{Int64: it.upload.ID, Valid: true}
	}
	return r
}

// item returns the item as it is published, without its objects.
func (it *memoryItem) item() work.Item {
	i := work.Item{
		Job: it.job.ID, ID: it.id, Kind: it.kind, Class: it.job.Class, Site: it.site, Epoch: it.epoch, Attempt: it.attempt,
		Source: it.job.Source, Target: it.job.Target, Options: it.job.Options, N: it.n, Suspect: it.suspect,
	}
	if it.span != nil {
		i.Range = new(*it.span)
	}
	return i
}

// addEvent writes a line of the audit log.
func (m *Memory) addEvent(now time.Time, job work.JobID, who, what, note string) {
	if who == "" {
		who = nobody
	}
	m.events = append(m.events, work.Event{
		ID: int64(len(m.events) + 1), Job: job, At: now, Who: plain(who), What: what, Note: plain(note),
	})
}

// Events lists events as a Ledger does.
func (m *Memory) Events(_ context.Context, id work.JobID, after int64, limit int) ([]work.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	events := []work.Event{}
	for _, e := range m.events[min(max(after, 0), int64(len(m.events))):] {
		if (id == 0 || e.Job == id) && len(events) < pageSize(limit) {
			events = append(events, e)
		}
	}
	return events, nil
}

// insert inserts items and gives them their ids.
func (m *Memory) insert(now time.Time, rows []newRow) {
	m.name(rows)
	m.insertNamed(now, rows)
}

// name gives rows that are to be inserted their ids.
func (m *Memory) name(rows []newRow) {
	for i := range rows {
		rows[i].id = work.ItemID(len(m.items) + i + 1)
	}
}

// insertNamed inserts items that have their ids. The uploads that they belong
// to must be there.
func (m *Memory) insertNamed(now time.Time, rows []newRow) {
	for _, r := range rows {
		n := r.item
		it := &memoryItem{
			job: m.job(r.job), id: r.id, kind: n.Kind, site: r.site, state: r.state(), attempt: max(n.Attempt, 1),
			notBefore: now.Add(n.Delay.Truncate(time.Microsecond)), bytes: bytesOf(n.Objects),
			objects: asStored(n.Objects), tally: tallyOf(n.Outcomes), agent: plain(r.agent),
			n: n.N, suspect: n.Suspect, parent: r.parent,
		}
		it.kept.outcomes = slices.Clone(plainOutcomes(n.Outcomes))
		if n.Range != nil {
			it.span = new(*n.Range)
		}
		if r.upload != nil {
			it.upload = m.uploads[r.upload.ID-1]
		}
		if it.state == work.Done {
			it.doneAt = now
		}
		it.job.items = append(it.job.items, it)
		m.items = append(m.items, it)
	}
}

// asStored returns objects as they come back from the database.
func asStored(objects []work.Object) []work.Object {
	objects = slices.Clone(plainObjects(objects))
	for i, o := range objects {
		switch {
		case o.ModTime.IsZero():
		case o.ModTime.UnixNano() == 0: // as if it were not known
			objects[i].ModTime = time.Time{}
		default:
			objects[i].ModTime = time.Unix(0, o.ModTime.UnixNano()).UTC()
		}
	}
	return objects
}
