package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// CreateJob writes a job as a Ledger does.
func (m *Memory) CreateJob(_ context.Context, n work.NewJob, idem work.Idempotency) (job work.Job, created bool, err error) {
	now := m.begin()
	defer m.mu.Unlock()
	if was := m.jobOfKey(idem.Key); was != nil {
		m.jobs = append(m.jobs, nil) // as in Postgres, where a sequence has moved on
		if !bytes.Equal(was.idem.Hash, idem.Hash) {
			return work.Job{}, false, fmt.Errorf("create a job: %w: %q created job %d", work.ErrIdempotency, idem.Key, was.ID)
		}
		return was.read(), false, nil
	}
	if n.Site == "" {
		n.Site = work.DefaultSite
	}
	if n.Class == "" {
		n.Class = work.Norm
	}
	text, err := json.Marshal(n.Options)
	if err != nil {
		return work.Job{}, false, fmt.Errorf("create a job: write the options: %w", err)
	}
	var options work.Options
	if err := json.Unmarshal(text, &options); err != nil {
		return work.Job{}, false, fmt.Errorf("create a job: read the options: %w", err)
	}
	j := &memoryJob{
		Job: work.Job{
			ID: work.JobID(len(m.jobs) + 1), Name: plain(n.Name), Source: n.Source, Target: n.Target, Options: options,
			Site: n.Site, Class: n.Class, State: work.Running, SubmittedBy: plain(n.SubmittedBy), CreatedAt: now,
		},
		idem:    work.Idempotency{Key: idem.Key, Hash: bytes.Clone(idem.Hash)},
		remarks: map[remark]*remarkCount{},
	}
	m.jobs = append(m.jobs, j)
	m.insert(now, []newRow{{item: work.NewItem{Kind: work.Scan, Range: &work.Range{}}, job: j.ID, site: n.Site}})
	m.addEvent(now, j.ID, n.SubmittedBy, "created", n.Source+" to "+n.Target)
	return j.read(), true, nil
}

// jobOfKey returns the job that was created under the idempotency key, or nil.
func (m *Memory) jobOfKey(key string) *memoryJob {
	for _, j := range m.jobs {
		if key != "" && j != nil && j.idem.Key == key {
			return j
		}
	}
	return nil
}

// Job returns a job.
func (m *Memory) Job(_ context.Context, id work.JobID) (work.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.job(id)
	if j == nil {
		return work.Job{}, fmt.Errorf("%w: %d", work.ErrNoJob, id)
	}
	return j.read(), nil
}

// read returns the job as callers see it.
func (j *memoryJob) read() work.Job {
	job := j.Job
	job.Open = job.Planned - job.Copied - job.Skipped - job.Failed
	job.Scanning = j.has(func(it *memoryItem) bool { return it.isOut() && it.kind == work.Scan })
	return job
}

// has reports whether the job has such an item.
func (j *memoryJob) has(such func(*memoryItem) bool) bool { return slices.ContainsFunc(j.items, such) }

// ActiveSites lists sites as a Ledger does.
func (m *Memory) ActiveSites(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var sites []string
	for _, j := range m.jobs {
		if j == nil || slices.Contains(sites, j.Site) {
			continue
		}
		if j.has(func(it *memoryItem) bool { return it.isOut() && (j.State == work.Running || it.kind == work.Abort) }) {
			sites = append(sites, j.Site)
		}
	}
	slices.Sort(sites)
	return sites, nil
}

// OpenControls returns what agents must know of every job that is not ended.
func (m *Memory) OpenControls(context.Context) (map[work.JobID]work.JobControl, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	controls := map[work.JobID]work.JobControl{}
	for _, j := range m.jobs {
		if j != nil && j.State.Open() {
			controls[j.ID] = work.JobControl{State: j.State}
		}
	}
	return controls, nil
}

// Pause keeps a job from being handed out, as a Ledger does.
func (m *Memory) Pause(_ context.Context, id work.JobID, who string) (work.Job, error) {
	return m.control("pause", id, func(j *memoryJob, now time.Time) error {
		if j.State != work.Running {
			return nothingIf(j.State, work.Paused)
		}
		j.State = work.Paused
		m.addEvent(now, id, who, "paused", "")
		return nil
	})
}

// Resume lets a job go on, as a Ledger does.
func (m *Memory) Resume(_ context.Context, id work.JobID, who string) (work.Job, error) {
	return m.control("resume", id, func(j *memoryJob, now time.Time) error {
		if j.State != work.Paused {
			return nothingIf(j.State, work.Running)
		}
		j.State = work.Running
		for _, it := range j.items {
			switch {
			case it.state == work.Queued:
				it.lookedAt = longAgo
			case it.state == work.Ready && it.notBefore.After(now):
				it.notBefore = now
			}
		}
		m.addEvent(now, id, who, "resumed", "")
		return nil
	})
}

// Cancel ends an open job, as a Ledger does.
func (m *Memory) Cancel(_ context.Context, id work.JobID, who string) (work.Job, error) {
	return m.control("cancel", id, func(j *memoryJob, now time.Time) error {
		if !j.State.Open() {
			return nothingIf(j.State, work.Canceled)
		}
		j.State, j.FinishedAt = work.Canceled, now
		m.addEvent(now, id, who, "canceled", "")
		for _, it := range j.items {
			if it.isOpen() && it.kind != work.Abort {
				it.state, it.doneAt = work.ItemCanceled, now
			}
		}
		return nil
	})
}

// control changes the state of a job and returns the job as it then is.
func (m *Memory) control(what string, id work.JobID, change func(*memoryJob, time.Time) error) (work.Job, error) {
	now := m.begin()
	defer m.mu.Unlock()
	j, err := m.job(id), work.ErrNoJob
	if j != nil {
		err = change(j, now)
	}
	if err != nil {
		return work.Job{}, fmt.Errorf("%s job %d: %w", what, id, err)
	}
	return j.read(), nil
}
