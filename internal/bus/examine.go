package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// From where on doctor warns.
const (
	fullAt  = 0.8    // of a limit
	lagAt   = 10_000 // results that wait to be recorded
	deepLag = "coordinators do not keep up, or none runs: look at their logs and at Postgres"
)

// Examine looks at the queue for what keeps work from moving or could lose
// messages, and says what to do about it. It changes nothing. A queue that does
// not answer is a failing check, not an error.
func (b *Bus) Examine(ctx context.Context) []work.Check {
	e := &examination{bus: b}
	if !e.connection(ctx) {
		return e.found
	}
	e.syncing()
	e.store(ctx)
	e.streams(ctx)
	return e.found
}

// An examination is what is said of the queue.
type examination struct {
	bus   *Bus
	found []work.Check
}

func (e *examination) add(what string, s work.CheckState, found, advice string) {
	e.found = append(e.found, work.Check{Part: "nats", What: what, State: s, Found: found, Advice: advice})
}

// judge adds a check that is good, or else as bad as s.
func (e *examination) judge(what string, good bool, s work.CheckState, found, advice string) {
	if good {
		s, advice = work.CheckOK, ""
	}
	e.add(what, s, found, advice)
}

func (e *examination) connection(ctx context.Context) bool {
	b := e.bus
	if err := b.Healthy(ctx); err != nil {
		e.add("answer", work.CheckFailing, err.Error(), "is the NATS server running, and are nats.url and the credentials right?")
		return false
	}
	rtt, err := b.nc.RTT()
	if err != nil {
		e.add("answer", work.CheckFailing, err.Error(), "is the NATS server running?")
		return false
	}
	e.add("answer", work.CheckOK, fmt.Sprintf("in %v, server %s", rtt.Round(10*time.Microsecond), b.nc.ConnectedServerVersion()), "")
	return true
}

// syncing says how much a power cut costs. Only the server's own operator can
// see that of a server elsewhere.
func (e *examination) syncing() {
	if e.bus.opt.Server != nil {
		e.add("sync_interval", work.CheckOK, syncInterval.String()+": a power cut costs that much, and the ledger makes up for it", "")
		return
	}
	e.add("sync_interval", work.CheckUnknown, "not shown to clients",
		"set jetstream { sync_interval: always } at the servers; their default is two minutes")
}

func (e *examination) store(ctx context.Context) {
	info, err := e.bus.js.AccountInfo(ctx)
	if err != nil {
		e.add("store", work.CheckUnknown, err.Error(), "")
		return
	}
	most := info.Limits.MaxStore
	if most <= 0 {
		e.add("store", work.CheckOK, humanize.IBytes(info.Store)+", without a limit of the account", "")
		return
	}
	e.judge("store", float64(info.Store) < fullAt*float64(most), work.CheckWarning,
		fmt.Sprintf("%s of %s", humanize.IBytes(info.Store), humanize.IBytes(uint64(most))), "raise nats.max_store, or the account's limit")
}

func (e *examination) streams(ctx context.Context) {
	lister := e.bus.js.ListStreams(ctx)
	names := map[string]bool{}
	for info := range lister.Info() {
		if !strings.HasPrefix(info.Config.Name, "TRANSHIP_") && !strings.HasPrefix(info.Config.Name, "KV_TRANSHIP_") {
			continue
		}
		names[info.Config.Name] = true
		e.stream(ctx, info)
	}
	if err := lister.Err(); err != nil {
		e.add("streams", work.CheckFailing, err.Error(), "may this user list streams?")
		return
	}
	for _, name := range []string{resultsStream, deadStream, eventsStream, "KV_" + agentsBucket, "KV_" + jobsBucket, "KV_" + ledgerBucket} {
		if !names[name] {
			e.add(name, work.CheckFailing, "it is not there", "a coordinator makes it at its start")
		}
	}
}

func (e *examination) stream(ctx context.Context, info *jetstream.StreamInfo) {
	name, s := info.Config.Name, info.State
	found := fmt.Sprintf("%s messages, %s", humanize.Comma(int64(s.Msgs)), humanize.IBytes(s.Bytes))
	queue := name == resultsStream || strings.HasPrefix(name, workPrefix)
	switch {
	case name == deadStream && s.Msgs > 0:
		e.add(name, work.CheckWarning, found, "messages could not be read; see why: nats stream view "+deadStream)
	case queue && info.Config.MaxBytes > 0:
		e.judge(name, float64(s.Bytes) < fullAt*float64(info.Config.MaxBytes), work.CheckWarning,
			found+" of "+humanize.IBytes(uint64(info.Config.MaxBytes)), "it is nearly full; publishing to it will wait")
	default:
		e.add(name, work.CheckOK, found, "")
	}
	e.replicas(info)
	if queue {
		e.consumers(ctx, name)
	}
}

// replicas looks at the copies of a stream in a cluster.
func (e *examination) replicas(info *jetstream.StreamInfo) {
	c := info.Cluster
	if c == nil || c.Name == "" {
		return
	}
	var lagging []string
	for _, r := range c.Replicas {
		if r.Offline || !r.Current {
			lagging = append(lagging, r.Name)
		}
	}
	what := info.Config.Name + " replicas"
	switch {
	case c.Leader == "":
		e.add(what, work.CheckFailing, "no leader", "most of its servers are down: start them")
	case len(lagging) > 0:
		e.add(what, work.CheckWarning, "offline or behind: "+strings.Join(lagging, ", "), "look at these servers")
	case info.Config.Replicas == 1:
		e.add(what, work.CheckWarning, "one, in a cluster", "set nats.replicas to 3: the loss of one server then delays nothing")
	default:
		e.add(what, work.CheckOK, fmt.Sprintf("%d, leader %s", info.Config.Replicas, c.Leader), "")
	}
}

func (e *examination) consumers(ctx context.Context, stream string) {
	s, err := e.bus.js.Stream(ctx, stream)
	if err != nil {
		e.add(stream+" consumers", work.CheckFailing, err.Error(), "")
		return
	}
	lister := s.ListConsumers(ctx)
	for c := range lister.Info() {
		e.consumer(stream, c)
	}
	if err := lister.Err(); err != nil {
		e.add(stream+" consumers", work.CheckFailing, err.Error(), "may this user list consumers?")
	}
}

func (e *examination) consumer(stream string, c *jetstream.ConsumerInfo) {
	what := stream + " " + c.Name
	found := fmt.Sprintf("%s waiting, %s handed out, %d asking", humanize.Comma(int64(c.NumPending)), humanize.Comma(int64(c.NumAckPending)), c.NumWaiting)
	switch {
	case c.Paused:
		e.add(what, work.CheckWarning, fmt.Sprintf("%s; paused for %v", found, c.PauseRemaining.Round(time.Second)),
			fmt.Sprintf("an operator paused it; nats consumer resume %s %s", stream, c.Name))
	case c.Name == ledgerConsumer:
		e.judge(what, c.NumPending+uint64(c.NumAckPending) < lagAt, work.CheckWarning, found, deepLag)
	case c.NumPending > 0 && c.NumWaiting == 0 && c.NumAckPending == 0:
		e.add(what, work.CheckWarning, found, "no agent asks for these items: is one running at the site?")
	default:
		e.add(what, work.CheckOK, found, "")
	}
}

// ExamineStore asks an agent to look at a store, with the credentials that it
// would use for a job. ErrNoAgent if none of that name answers.
func (b *Bus) ExamineStore(ctx context.Context, site, agent string, c work.StoreCheck) ([]work.Check, error) {
	fail := func(err error) ([]work.Check, error) {
		return nil, fmt.Errorf("have agent %s of site %s look at %s: %w", agent, site, c.Store, closedOr(err))
	}
	if err := errors.Join(work.CheckName("site", site), work.CheckName("agent", agent)); err != nil {
		return nil, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return fail(err)
	}
	m, err := b.nc.RequestWithContext(ctx, control(site, agent)+".examine", body)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoAgent
	}
	if err != nil {
		return fail(err)
	}
	var found []work.Check
	if err := json.Unmarshal(m.Data, &found); err != nil {
		return fail(err)
	}
	for i := range found {
		found[i].By = site + "/" + agent // whatever it says of itself
	}
	return found, nil
}
