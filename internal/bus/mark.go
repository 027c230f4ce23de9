package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// markKey is the one key of the bucket TRANSHIP_LEDGER.
const markKey = "mark"

// Private reports whether nobody outside of this process can reach the queue.
func (b *Bus) Private() bool { return b.opt.Server != nil && !b.opt.Server.tcp }

// Mark returns what the queue remembers of the ledger: the zero Mark if it was
// never told, or was lost since.
func (b *Bus) Mark(ctx context.Context) (m work.Mark, err error) {
	err = b.inBucket(ctx, ledgerBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		m, _, err = readMark(ctx, kv)
		return err
	})
	if err != nil {
		return m, fmt.Errorf("read what the queue remembers of the ledger: %w", err)
	}
	return m, nil
}

// MoveMark changes what the queue remembers of the ledger. Change may be
// called again, with what another coordinator has written in the meantime.
func (b *Bus) MoveMark(ctx context.Context, change func(work.Mark) work.Mark) error {
	err := b.inBucket(ctx, ledgerBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		for {
			old, revision, err := readMark(ctx, kv)
			if err != nil {
				return err
			}
			body, err := json.Marshal(change(old))
			if err != nil {
				return err
			}
			if revision == 0 {
				_, err = kv.Create(ctx, markKey, body)
			} else {
				_, err = kv.Update(ctx, markKey, body, revision)
			}
			if !errors.Is(err, jetstream.ErrKeyExists) { // which also means: not the revision that was read
				return meaning(err)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("let the queue remember the ledger: %w", err)
	}
	return nil
}

// readMark returns revision 0 if there is no mark.
func readMark(ctx context.Context, kv jetstream.KeyValue) (m work.Mark, revision uint64, err error) {
	e, err := kv.Get(ctx, markKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return m, 0, nil
	case err != nil:
		return m, 0, err
	}
	if err := json.Unmarshal(e.Value(), &m); err != nil {
		return m, 0, fmt.Errorf("mark %q: %w", e.Value(), err)
	}
	return m, e.Revision(), nil
}

// Forget removes the items and the jobs from the queue whose ids are beyond
// those issued: the ledger does not know them any more. It returns how many
// items there were.
func (b *Bus) Forget(ctx context.Context, issued work.Issued) (items int, err error) {
	jobs, err := b.Jobs(ctx)
	if err != nil {
		return 0, err
	}
	for _, job := range jobs {
		if job > issued.Job {
			if err := b.DropJob(ctx, job); err != nil {
				return 0, err
			}
		}
	}
	names := b.js.StreamNames(ctx, jetstream.WithStreamListSubject(work.AllWorkSubjects))
	var streams []string
	for name := range names.Name() {
		streams = append(streams, name)
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return 0, fmt.Errorf("list the queues of sites: %w", err)
	}
	for _, name := range streams {
		n, err := b.forgetIn(ctx, name, issued.Item)
		items += n
		if err != nil {
			return items, fmt.Errorf("remove lost items from stream %s: %w", name, err)
		}
	}
	return items, nil
}

func (b *Bus) forgetIn(ctx context.Context, name string, last work.ItemID) (items int, err error) {
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(work.AllWorkSubjects))
	if err != nil {
		return 0, err
	}
	for subject := range info.State.Subjects {
		id, err := strconv.ParseInt(subject[strings.LastIndexByte(subject, '.')+1:], 10, 64)
		if err != nil || work.ItemID(id) <= last {
			continue // what is no item's is put aside by whoever takes it
		}
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return items, err
		}
		items++
	}
	return items, nil
}

// Jobs lists the jobs that agents are told of.
func (b *Bus) Jobs(ctx context.Context) (jobs []work.JobID, err error) {
	err = b.inBucket(ctx, jobsBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		jobs = nil
		keys, err := kv.Keys(ctx)
		if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
			return err
		}
		for _, key := range keys {
			if id, err := strconv.ParseInt(key, 10, 64); err == nil {
				jobs = append(jobs, work.JobID(id))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the jobs that agents are told of: %w", err)
	}
	return jobs, nil
}
