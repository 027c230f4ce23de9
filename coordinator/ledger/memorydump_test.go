package ledger

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// An ItemRow is a row of items as tests compare it.
type ItemRow struct {
	ID, Job                                int64
	Kind, Site, State                      string
	Epoch, Attempt                         int
	NotBefore, LookedAt, DoneAt            string // in hours since the ledger is there; empty: NULL
	Count, Copied, Skipped, Failed, Handed int
	Bytes                                  int64
	First, Last                            string // keys
	Spec, Objects, Result                  string // JSON as Go writes it
	Agent, Fault, Error                    string
	Upload, N, Parent                      int64
	Suspect                                bool
}

// An UploadRow is a row of uploads as tests compare it.
type UploadRow struct {
	ID, Job, Begin, Item   int64
	Key                    string
	Size                   int64
	ETag, Object, UploadID string
	PartSize               int64
	Parts, Left            int
	Dropped, Stood, State  string
	Repeated               bool
}

// Rows returns all items and uploads.
func (m *Memory) Rows() (items []ItemRow, uploads []UploadRow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range m.items {
		first, last := keysOf(it.objects)
		r := ItemRow{
			ID: int64(it.id), Job: int64(it.job.ID), Kind: string(it.kind), Site: it.site, State: string(it.state),
			Epoch: it.epoch, Attempt: it.attempt,
			NotBefore: hours(it.notBefore), LookedAt: hours(it.lookedAt), DoneAt: hours(it.doneAt),
			Count: len(it.objects), Copied: it.tally.copied, Skipped: it.tally.skipped, Failed: it.tally.failed,
			Handed: it.tally.handed, Bytes: it.bytes, First: string(first), Last: string(last),
			Agent: it.agent, Fault: string(it.fault), Error: it.reason,
			N: int64(it.n), Parent: int64(it.parent), Suspect: it.suspect,
		}
		if it.span != nil {
			r.Spec = asJSON(it.span)
		}
		if it.objects != nil {
			r.Objects = asJSON(it.objects)
		}
		switch {
		case it.kept.part != nil:
			r.Result = asJSON(it.kept.part)
		case it.kept.outcomes != nil:
			r.Result = asJSON(it.kept.outcomes)
		}
		if it.upload != nil {
			r.Upload = it.upload.ID
		}
		items = append(items, r)
	}
	for _, u := range m.uploads {
		uploads = append(uploads, UploadRow{
			ID: u.ID, Job: int64(u.Job), Begin: int64(u.Begin), Item: u.Item.Int64, Key: u.object.Key, Size: u.object.Size,
			ETag: u.object.ETag, Object: asJSON(u.object), UploadID: u.UploadID, PartSize: u.PartSize,
			Parts: u.Parts, Left: u.Left, Dropped: u.Dropped, Stood: u.Stood, State: u.State, Repeated: u.Repeated,
		})
	}
	return items, uploads
}

// MemoryStart is when a Memory begins.
var MemoryStart = NewMemory(nil).clock

// hours returns full hours since the beginning.
func hours(t time.Time) string {
	switch t {
	case time.Time{}:
		return ""
	case longAgo:
		return "-Infinity"
	}
	return strconv.FormatFloat(math.Floor(t.Sub(MemoryStart).Hours()), 'f', -1, 64)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestMemoryUnbalanced: as a Ledger, a Memory ends no job whose counters are
// wrong, says so once, and looks again a minute later.
func TestMemoryUnbalanced(t *testing.T) {
	t.Parallel()
	m := NewMemory(nil)
	j, _, err := m.CreateJob(t.Context(), work.NewJob{Options: work.DefaultOptions()}, work.Idempotency{})
	if err != nil {
		t.Fatal(err)
	}
	m.item(1).state = work.Done
	m.job(j.ID).Planned = 1
	look := func() work.Job {
		t.Helper()
		ended, err := m.FinishJobs(t.Context())
		if err != nil || len(ended) != 0 {
			t.Fatalf("FinishJobs = %+v, %v, want none", ended, err)
		}
		now, err := m.Job(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	if now := look(); now.State != work.Running || now.Error == "" {
		t.Errorf("the job is %s with error %q", now.State, now.Error)
	}
	look()
	m.Advance(2 * time.Minute)
	look()
	if events, err := m.Events(t.Context(), j.ID, 0, 0); err != nil || len(events) != 2 || events[1].What != "unbalanced" {
		t.Errorf("events are %+v, %v, want created and one unbalanced", events, err)
	}
	m.job(j.ID).Planned = 0
	if ended, err := m.FinishJobs(t.Context()); err != nil || len(ended) != 0 {
		t.Errorf("FinishJobs = %+v, %v within a minute, want none", ended, err)
	}
	m.Advance(2 * time.Minute)
	if ended, err := m.FinishJobs(t.Context()); err != nil || len(ended) != 1 || ended[0].Error != "" {
		t.Errorf("FinishJobs = %+v, %v, want the job", ended, err)
	}
}
