package coordinator

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An object that ends every agent that reads it is found among 200 and failed
// with the reason; the others are copied.
func TestPoisonousObject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ackWait = 500 * time.Millisecond
	c, _ := b.coordinator("c1")
	const n = 200
	name := b.fill(n)
	poison := fmt.Sprintf("folder %d/object-%06d", 123%7, 123)
	var deaths atomic.Int64
	for i := range 3 {
		b.mortal(fmt.Sprintf("a%d", i), poison, &deaths)
	}
	options := work.DefaultOptions()
	options.MaxAttempts = 2
	j := b.job(c, "mem://"+name+"/from", "mem://"+name+"/to", options)
	b.counts(b.ended(j.ID, work.Incomplete), n-1, 0, 1)
	failures, _, err := b.ledger.Failures(t.Context(), work.FailureQuery{Job: j.ID, Limit: 10})
	if err != nil || len(failures) != 1 {
		t.Fatalf("Failures = %+v, %v, want one", failures, err)
	}
	f := failures[0]
	t.Logf("%d agents died; then: %s", deaths.Load(), f.Message)
	if f.Key != poison || f.Fault != work.Internal ||
		!strings.Contains(f.Message, "after 2 attempts: agents ended without a word while they had it in hand, alone") {
		t.Errorf("failure %+v, want that of %s", f, poison)
	}
	want := b.contents("mem://" + name + "/from")
	delete(want, poison)
	if got := b.contents("mem://" + name + "/to"); !maps.Equal(got, want) {
		t.Errorf("%d objects at the target, want the %d others", len(got), len(want))
	}
}

// mortal runs an agent that ends without a word whenever it reads an object
// whose key is poison, and is started again.
func (b *bundle) mortal(name, poison string, deaths *atomic.Int64) {
	b.run(name, func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := b.life(ctx, name, poison); err != nil {
				return err
			}
			deaths.Add(1)
		}
		return nil
	})
}

// life runs a mortal agent until it dies or ctx ends.
func (b *bundle) life(ctx context.Context, name, poison string) error {
	conn := b.connect(name)
	ctx, end := context.WithCancel(ctx)
	defer end()
	a := b.newAgent(name, conn, storage.Drivers{"mem": func(ctx context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
		s, err := b.stores["mem"](ctx, u, c)
		return deadly{Store: s, key: poison, kill: func() {
			conn.Close() // nothing more is heard of it
			end()
		}}, err
	}})
	context.AfterFunc(ctx, a.Kill)
	return a.Run(ctx)
}

// A deadly store kills whoever reads one key.
type deadly struct {
	storage.Store
	key  string
	kill func()
}

func (d deadly) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if key == d.key {
		d.kill()
		<-ctx.Done()
		return nil, storage.Info{}, ctx.Err()
	}
	return d.Store.Get(ctx, key, etag, off, n)
}
