package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

const (
	renewAtStart = 10 * time.Second // longer an agent does not wait for a coordinator that it can do without
	renewPause   = time.Second      // after a failure, and twice as long after each other
	renewLongest = 30 * time.Second
	calmAfter    = 2 * time.Second // a connection that was made anew works by then, if it may
)

// A keeper keeps the credential of an agent that has joined: it hands it to the
// queue's client and renews it in time.
type keeper struct {
	dir    string
	client *api.Client
	log    *slog.Logger
	now    func() time.Time

	knocked chan struct{}               // holds one: the queue's client has shown the credential
	healthy func(context.Context) error // of the queue; set before run
	vain    int                         // renewals since, by which it did not get well; owned by run

	mu sync.Mutex // guards id
	id identity
}

// keeperOf returns the keeper of the identity in a data folder, nil if there is
// none.
func keeperOf(dir string, log *slog.Logger) (*keeper, error) {
	id, found, err := readIdentity(dir)
	if err != nil || !found {
		return nil, err
	}
	if !id.joined() {
		return nil, fail(ExitFailed, fmt.Errorf("%s: joining the fleet was begun and not finished", filepath.Join(dir, identityFile)),
			"run the tranship fleet join command again; if its token has expired, tranship fleet invite makes another")
	}
	client, err := trusting(id.Server, id.Pin, id.Welcome.ServerCA)
	if err != nil {
		return nil, err
	}
	return &keeper{dir: dir, client: client, log: log, now: time.Now, knocked: make(chan struct{}, 1), id: id}, nil
}

func (k *keeper) identity() identity {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.id
}

// jwt implements bus.Options.JWT.
func (k *keeper) jwt() (string, error) {
	select {
	case k.knocked <- struct{}{}:
	default:
	}
	return k.identity().Welcome.JWT, nil
}

// options says how the agent connects to the queue: where the fleet says, or at
// nats.url of its own configuration, which may be a leaf node of its site.
func (k *keeper) options(cfg config.Config) bus.Options {
	id := k.identity()
	o := bus.Options{
		URL: id.Welcome.NATS, Name: id.Agent, Domain: id.Welcome.Domain, JWT: k.jwt, Seed: id.Seed,
		TLS: bus.TLS{CA: id.natsCA(k.dir)}, AckWait: time.Duration(cfg.NATS.AckWait), Log: k.log,
	}
	if !cfg.NATS.URL.IsZero() {
		o.URL, o.TLS = cfg.NATS.URL.Reveal(), bus.TLS(cfg.NATS.TLS)
	}
	return o
}

// errShutOut means that the agent is not one of the fleet any more.
var errShutOut = errors.New("was revoked, or is not known to the fleet")

// renew asks for a new credential and keeps it. It returns an error that is
// errShutOut if there will be none.
func (k *keeper) renew(ctx context.Context) error {
	id := k.identity()
	r := work.Renewal{Key: id.Key, At: k.now().UTC().Truncate(time.Millisecond)}
	var err error
	if r.Signature, err = bus.Sign(id.Seed, r.Text()); err != nil {
		return err
	}
	welcome, err := k.client.Renew(ctx, r)
	var p *api.Problem
	if errors.As(err, &p) && p.Code == api.NoIdentity {
		return fmt.Errorf("%w: %w", errShutOut, err)
	}
	if err != nil {
		return err
	}
	id = id.with(welcome, k.now())
	k.mu.Lock()
	k.id = id
	k.mu.Unlock()
	if err := id.write(k.dir); err != nil {
		k.log.WarnContext(ctx, "the new credential counts until the agent ends", "err", err)
	}
	return nil
}

// begin renews at the start, so that the agent knows at once where the queue is
// by now, or that it was revoked. A coordinator that does not answer is waited
// for only if there is no other way.
func (k *keeper) begin(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, renewAtStart)
	err := k.renew(short)
	cancel()
	for try := 1; err != nil && !k.now().Before(k.identity().Welcome.Expires); try++ {
		if errors.Is(err, errShutOut) || ctx.Err() != nil {
			break
		}
		k.log.WarnContext(ctx, "the agent's credential has expired and the coordinator gives no other, trying on", "err", err)
		if !pause(ctx, renewalPause(try)) {
			break
		}
		err = k.renew(ctx)
	}
	switch {
	case errors.Is(err, errShutOut):
		return k.shutOut()
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		k.log.WarnContext(ctx, "the agent's credential is not renewed yet", "expires", k.identity().Welcome.Expires, "err", err)
	}
	return nil
}

// shutOut says what it means to be revoked. systemd does not start an agent
// again that ends so.
func (k *keeper) shutOut() error {
	id := k.identity()
	return fail(ExitDenied, fmt.Errorf("agent %s of site %s %w", id.Agent, id.Welcome.Site, errShutOut),
		"if it is to come back: remove "+filepath.Join(k.dir, identityFile)+", have it invited with tranship fleet invite --site "+id.Welcome.Site+" and join again")
}

// run renews until ctx ends, and returns why if the agent was revoked.
func (k *keeper) run(ctx context.Context) error {
	for failed := 0; ; {
		if !k.due(ctx, failed) {
			return ctx.Err()
		}
		switch err := k.renew(ctx); {
		case err == nil:
			if failed > 0 {
				k.log.InfoContext(ctx, "the agent's credential is renewed")
			}
			failed = 0
		case errors.Is(err, errShutOut):
			k.log.ErrorContext(ctx, "the agent was revoked and ends", "err", err)
			return k.shutOut()
		case ctx.Err() == nil:
			if failed++; failed == 1 {
				k.log.WarnContext(ctx, "the agent's credential cannot be renewed, trying on",
					"expires", k.identity().Welcome.Expires, "err", err)
			}
		}
	}
}

// keep returns run for an agent that works meanwhile. One that is revoked puts
// down at once what it holds: nobody would hear of how it ended.
func (k *keeper) keep(a *agent.Agent) func(context.Context) error {
	return func(ctx context.Context) error {
		err := k.run(ctx)
		if ctx.Err() == nil {
			a.Kill()
		}
		return err
	}
}

// due waits until it is time to renew: at half the credential's life, when the
// queue does not let the agent in, or a while after a failure. It reports false
// if ctx ended before.
func (k *keeper) due(ctx context.Context, failed int) bool {
	if failed > 0 {
		return pause(ctx, renewalPause(failed))
	}
	at := time.NewTimer(k.identity().RenewAt.Sub(k.now()))
	defer at.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-at.C:
			return pause(ctx, renewPause/10) // also if the clock, or a short life, makes it due at once
		case <-k.knocked:
		}
		calm := calmAfter << min(k.vain, 5)
		if !pause(ctx, calm/2+rand.N(calm)) {
			return false
		}
		if k.healthy(ctx) != nil {
			k.vain++
			return true
		}
		k.vain = 0
	}
}

// renewalPause is how long to wait after so many failures.
func renewalPause(failed int) time.Duration {
	most := min(renewPause<<min(failed-1, 10), renewLongest)
	return most/2 + rand.N(most/2)
}

// pause waits for d and reports whether ctx allowed it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
