package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tranship/tranship/internal/work"
)

// examineWait bounds how long an agent looks at a store.
const examineWait = 20 * time.Second

// controlRoot begins the subjects under which one agent is spoken to.
const controlRoot = "tranship.ctl."

// ErrNoAgent means that no agent of that name answers.
var ErrNoAgent = errors.New("no such agent answers")

// ServiceOptions say what an agent shows and lets do.
type ServiceOptions struct {
	Agent   string
	Site    string
	Version string
	Host    string
	Stats   func() any // what to show; must encode as JSON; may be called at any time
	Drain   func()     // asked to finish what it holds and take nothing new; must not block

	// Examine looks at a store; at most one call at a time, and others are told so.
	Examine func(ctx context.Context, c work.StoreCheck) []work.Check
}

// versionSyntax is what the protocol takes for a version.
var versionSyntax = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)$`)

// Serve shows an agent as a service named agent until ctx ends: it answers
// `nats micro ls`, info, stats and ping, and Drain, status and ExamineStore
// requests under tranship.ctl.<site>.<agent>.
func (b *Bus) Serve(ctx context.Context, o ServiceOptions) error {
	for what, name := range map[string]string{"agent": o.Agent, "site": o.Site} {
		if err := work.CheckName(what, name); err != nil {
			return err
		}
	}
	version := "0.0.0"
	if m := versionSyntax.FindStringSubmatch(o.Version); m != nil {
		version = m[1]
	}
	svc, err := micro.AddService(b.nc, micro.Config{
		Name:               "agent",
		Version:            version,
		Description:        "Tranship agent: takes items of its site and moves their bytes",
		Metadata:           map[string]string{"agent": o.Agent, "site": o.Site, "host": o.Host, "version": o.Version},
		QueueGroupDisabled: true,
		StatsHandler:       func(*micro.Endpoint) any { return o.Stats() },
	})
	if err != nil {
		return fmt.Errorf("offer agent %s as a service: %w", o.Agent, closedOr(err))
	}
	var looking sync.Mutex
	ctl := svc.AddGroup(control(o.Site, o.Agent))
	err = errors.Join(
		ctl.AddEndpoint("drain", b.asked(ctx, func(r micro.Request) {
			b.log.InfoContext(ctx, "asked to drain")
			o.Drain()
			b.answer(ctx, r, map[string]string{"state": "draining"})
		})),
		ctl.AddEndpoint("status", b.asked(ctx, func(r micro.Request) { b.answer(ctx, r, o.Stats()) })),
		ctl.AddEndpoint("examine", b.asked(ctx, func(r micro.Request) {
			var c work.StoreCheck
			if err := json.Unmarshal(r.Data(), &c); err != nil {
				b.log.WarnContext(ctx, "unreadable request", "subject", r.Subject(), "err", err)
				return // whoever asked gives up waiting
			}
			if !looking.TryLock() { // or requests that nobody waits for any more would pile up
				b.answer(ctx, r, []work.Check{{Part: c.Store, What: "ask the agent", State: work.CheckUnknown,
					Found: "it is busy looking at another store", Advice: "try again in a moment"}})
				return
			}
			go func() { // Serve waits for it when it ends
				defer looking.Unlock()
				if ctx.Err() == nil {
					b.answer(ctx, r, examine(ctx, o, c))
				}
			}()
		})),
	)
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	looking.Lock()
	defer looking.Unlock()
	if stop := svc.Stop(); stop != nil && !errors.Is(stop, nats.ErrConnectionClosed) {
		err = errors.Join(err, stop)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("offer agent %s as a service: %w", o.Agent, closedOr(err))
}

// asked returns a handler that passes on what somebody asked. What has no inbox
// for the answer is a message of the server's own that another agent has aimed
// here, see doc.go.
func (b *Bus) asked(ctx context.Context, f func(micro.Request)) micro.HandlerFunc {
	return func(r micro.Request) {
		if !strings.HasPrefix(r.Reply(), "_INBOX") {
			b.log.WarnContext(ctx, "request of nobody ignored", "subject", r.Subject())
			return
		}
		f(r)
	}
}

func examine(ctx context.Context, o ServiceOptions, c work.StoreCheck) []work.Check {
	ctx, cancel := context.WithTimeout(ctx, examineWait)
	defer cancel()
	return o.Examine(ctx, c)
}

func (b *Bus) answer(ctx context.Context, r micro.Request, v any) {
	if err := r.RespondJSON(v); err != nil {
		b.log.WarnContext(ctx, "request not answered", "subject", r.Subject(), "err", err)
	}
}

// Drain asks an agent to finish what it holds and take nothing new. It returns
// once the agent has heard; ErrNoAgent if there is none.
func (b *Bus) Drain(ctx context.Context, site, agent string) error {
	for what, name := range map[string]string{"agent": agent, "site": site} {
		if err := work.CheckName(what, name); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	_, err := b.nc.RequestWithContext(ctx, control(site, agent)+".drain", nil)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoAgent
	}
	if err != nil {
		return fmt.Errorf("drain agent %s of site %s: %w", agent, site, closedOr(err))
	}
	return nil
}

func control(site, agent string) string { return controlRoot + site + "." + agent }
