package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// watchFor is how long one watch of the jobs lasts before it begins anew. That
// is what repairs a watch whose bucket was deleted and made again, which the
// server tells nobody.
const watchFor = 30 * time.Second

// endWait is how long an ended watch may take to hand over its next update.
const endWait = time.Second

// SetJob tells all agents where a job stands. Saying the same again is cheap
// and wakes nobody.
func (b *Bus) SetJob(ctx context.Context, job work.JobID, c work.JobControl) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the state of job %d: %w", job, err)
	}
	err = b.inBucket(ctx, jobsBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		if e, err := kv.Get(ctx, job.String()); err == nil && bytes.Equal(e.Value(), body) {
			return nil
		}
		_, err := kv.Put(ctx, job.String(), body)
		return err
	})
	if err != nil {
		return fmt.Errorf("tell agents of job %d: %w", job, err)
	}
	return nil
}

// DropJob tells all agents that a job is over.
func (b *Bus) DropJob(ctx context.Context, job work.JobID) error {
	err := b.inBucket(ctx, jobsBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
		if _, err := kv.Get(ctx, job.String()); errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		return kv.Purge(ctx, job.String(), jetstream.PurgeTTL(markerTTL))
	})
	if err != nil {
		return fmt.Errorf("tell agents that job %d is over: %w", job, err)
	}
	return nil
}

// WatchJobs calls fn, one call at a time, with every open job and then with
// every change, until ctx ends. A job that is over comes with the zero
// JobControl. Only changes are told, also across lost connections.
func (b *Bus) WatchJobs(ctx context.Context, fn func(work.JobID, work.JobControl)) error {
	known := map[work.JobID]work.JobControl{}
	tell := func(job work.JobID, c work.JobControl) {
		if old, ok := known[job]; old == c && (ok || c == work.JobControl{}) {
			return
		}
		known[job] = c
		if c == (work.JobControl{}) {
			delete(known, job)
		}
		fn(job, c)
	}
	for ctx.Err() == nil {
		if err := b.watchOnce(ctx, known, tell); err != nil && ctx.Err() == nil {
			b.log.DebugContext(ctx, "jobs cannot be watched yet", "bucket", jobsBucket, "err", err)
			if b.nc.IsClosed() {
				return fmt.Errorf("watch jobs: %w", ErrClosed)
			}
			sleep(ctx, missingWait)
		}
	}
	return ctx.Err()
}

// watchOnce tells of all jobs and then of changes for a while. Jobs that are
// known but not there any more are over.
func (b *Bus) watchOnce(ctx context.Context, known map[work.JobID]work.JobControl, tell func(work.JobID, work.JobControl)) error {
	ctx, cancel := context.WithTimeout(ctx, b.watchFor)
	defer cancel()
	kv, err := b.js.KeyValue(ctx, jobsBucket)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer endWatch(w)

	again := b.nc.StatusChanged(nats.CONNECTED) // maybe to a server that lost its store
	defer b.nc.RemoveStatusListener(again)
	seen := map[work.JobID]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			return nil
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch ended")
			case e != nil:
				if job, c, err := readJob(e); err != nil {
					b.log.WarnContext(ctx, "unreadable state of a job", "key", e.Key(), "err", err)
				} else {
					seen[job] = true
					tell(job, c)
				}
			default: // everything that is there was told
				for job := range known {
					if !seen[job] {
						tell(job, work.JobControl{})
					}
				}
			}
		}
	}
}

// endWatch stops a watcher and takes what it still wants to hand over, or it
// would wait for ever to do so. The client closes the updates once its
// subscription has ended, but not if that happened before it listened for the
// end; there is nothing to take then.
func endWatch(w jetstream.KeyWatcher) {
	_ = w.Stop() // it fails only on a closed connection
	for {
		select {
		case _, more := <-w.Updates():
			if !more {
				return
			}
		case <-time.After(endWait):
			return
		}
	}
}

func readJob(e jetstream.KeyValueEntry) (work.JobID, work.JobControl, error) {
	var c work.JobControl
	id, err := strconv.ParseInt(e.Key(), 10, 64)
	if err != nil || e.Operation() != jetstream.KeyValuePut {
		return work.JobID(id), c, err
	}
	err = json.Unmarshal(e.Value(), &c)
	if err == nil && c.State == "" { // that would mean that the job is over
		err = errors.New("it names no state")
	}
	return work.JobID(id), c, err
}
