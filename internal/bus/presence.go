package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

// Beat says that an agent is alive. Nothing confirms it; the next one will do
// as well.
func (b *Bus) Beat(p work.Presence) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the presence of agent %s: %w", p.Agent, err)
	}
	if err := b.nc.Publish(work.BeatSubject(p.Site, p.Agent), body); err != nil {
		return fmt.Errorf("tell of agent %s: %w", p.Agent, closedOr(err))
	}
	return nil
}

// Beats hands every agent's sign of life to fn, one at a time, until ctx ends,
// and keeps them in the bucket TRANSHIP_AGENTS for people.
func (b *Bus) Beats(ctx context.Context, fn func(work.Presence)) error {
	sub, err := b.nc.SubscribeSync(work.BeatSubjects)
	if err != nil {
		return fmt.Errorf("listen to agents: %w", closedOr(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only on a closed connection

	// A bucket that does not answer must not hold up the listening.
	latest := &shelf{put: map[string][]byte{}, more: make(chan struct{}, 1)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.keepLatest(ctx, latest) })
	group.Go(func() error {
		for {
			m, err := sub.NextMsgWithContext(ctx)
			switch {
			case err == nil:
				b.heard(ctx, m, latest, fn)
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, nats.ErrSlowConsumer):
				b.log.WarnContext(ctx, "signs of life were missed", "err", err)
			default:
				return fmt.Errorf("listen to agents: %w", closedOr(err))
			}
		}
	})
	return group.Wait()
}

// heard passes one sign of life on. Who sent it is what the subject says; one
// that is not of its subject did not come from an agent, see doc.go.
func (b *Bus) heard(ctx context.Context, m *nats.Msg, latest *shelf, fn func(work.Presence)) {
	var p work.Presence
	err := json.Unmarshal(m.Data, &p)
	if err == nil && work.BeatSubject(p.Site, p.Agent) != m.Subject {
		err = fmt.Errorf("it is of agent %q at site %q, not that of its subject", p.Agent, p.Site)
	}
	if err == nil {
		fn(p)
		err = latest.set(p)
	}
	if err != nil {
		b.log.WarnContext(ctx, "unreadable sign of life", "subject", m.Subject, "err", err)
	}
}

// keepLatest writes what is on the shelf to the bucket until ctx ends.
func (b *Bus) keepLatest(ctx context.Context, latest *shelf) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-latest.more:
		}
		err := b.inBucket(ctx, agentsBucket, func(ctx context.Context, kv jetstream.KeyValue) error {
			for key, body := range latest.take() {
				if _, err := kv.Put(ctx, key, body); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "signs of life not kept", "bucket", agentsBucket, "err", err)
		}
	}
}

// A shelf holds the latest sign of life of each agent until it is kept.
type shelf struct {
	more chan struct{} // holds one: there is something to take

	mu  sync.Mutex // guards put
	put map[string][]byte
}

func (s *shelf) set(p work.Presence) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.put[p.Site+"."+p.Agent] = body
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

func (s *shelf) take() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.put
	s.put = map[string][]byte{}
	return all
}

// inBucket makes a call on a bucket, which is made anew if it is missing and
// that is this side's part.
func (b *Bus) inBucket(ctx context.Context, name string, call func(context.Context, jetstream.KeyValue) error) error {
	for try := 0; ; try++ {
		err := b.inBucketOnce(ctx, name, call)
		if !missing(err) || try > 0 || !b.heal(ctx) {
			return err
		}
	}
}

func (b *Bus) inBucketOnce(ctx context.Context, name string, call func(context.Context, jetstream.KeyValue) error) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	kv, err := b.js.KeyValue(ctx, name)
	if err != nil {
		return err
	}
	return call(ctx, kv)
}
