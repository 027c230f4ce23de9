package ledger

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// Objects lists objects of a job as a Ledger does.
func (m *Memory) Objects(_ context.Context, q work.ObjectQuery) (objects []work.ObjectRow, next string, err error) {
	of := "objects of " + q.Job.String()
	at, err := parseCursor(q.Cursor, of, cursor{N: -1})
	if err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.job(q.Job)
	if j == nil {
		return nil, "", nil
	}
	size := pageSize(q.Limit)
	for _, it := range j.items {
		if int64(it.id) < at.ID {
			continue
		}
		for n := range it.objects {
			o, shown := it.object(n)
			if !shown || !matches(o, q) || int64(it.id) == at.ID && n <= at.N {
				continue
			}
			if len(objects) == size {
				return objects, at.String(), nil
			}
			objects = append(objects, o)
			at = cursor{Of: of, ID: int64(it.id), N: n}
		}
	}
	return objects, "", nil
}

// object returns an object of the item. It is shown unless it was handed on.
func (it *memoryItem) object(n int) (row work.ObjectRow, shown bool) {
	o := it.objects[n]
	row = work.ObjectRow{
		Job: it.job.ID, Item: it.id, Key: o.Key, Size: o.Size, ETag: o.ETag, Attempt: it.attempt, Agent: it.agent,
	}
	if n >= len(it.kept.outcomes) {
		return row, true
	}
	k := it.kept.outcomes[n]
	row.Outcome, row.Reason, row.Proof, row.Checksum = k.Outcome, k.Reason, k.Proof, k.Checksum
	row.Dropped, row.Error, row.At = k.Dropped, k.Error, it.doneAt
	return row, k.Outcome.Final()
}

func matches(o work.ObjectRow, q work.ObjectQuery) bool {
	switch {
	case !strings.HasPrefix(o.Key, q.Prefix) || q.Whole && o.Key != q.Prefix:
		return false
	case q.Open:
		return o.Outcome == ""
	}
	return q.Outcome == "" || o.Outcome == q.Outcome
}

// Failures lists objects that were given up, as a Ledger does.
func (m *Memory) Failures(_ context.Context, q work.FailureQuery) (failures []work.Failure, next string, err error) {
	of := "failures of " + q.Job.String()
	at, err := parseCursor(q.Cursor, of, cursor{})
	if err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.job(q.Job)
	if j == nil {
		return nil, "", nil
	}
	for _, f := range j.failures {
		if f.id <= at.ID || q.Fault != "" && f.Fault != q.Fault || !strings.HasPrefix(f.Key, q.Prefix) {
			continue
		}
		if len(failures) == pageSize(q.Limit) {
			return failures, next, nil
		}
		failures = append(failures, f.Failure)
		next = cursor{Of: of, ID: f.id}.String()
	}
	return failures, "", nil
}

// Remarks counts the objects of a job as a Ledger does.
func (m *Memory) Remarks(_ context.Context, id work.JobID, about work.About) ([]work.Tally, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tallies := []work.Tally{}
	if j := m.job(id); j != nil {
		for at, c := range j.remarks {
			if at.about == about {
				tallies = append(tallies, work.Tally{Name: at.name, Count: c.objects, Key: c.example})
			}
		}
	}
	slices.SortFunc(tallies, func(a, b work.Tally) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
	})
	return tallies[:min(len(tallies), mostRemarks)], nil
}
