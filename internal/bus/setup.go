package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// Names that operators see.
const (
	workPrefix     = "TRANSHIP_WORK_"
	resultsStream  = "TRANSHIP_RESULTS"
	ledgerConsumer = "ledger"
	deadStream     = "TRANSHIP_DEAD"
	eventsStream   = "TRANSHIP_EVENTS"
	agentsBucket   = "TRANSHIP_AGENTS"
	jobsBucket     = "TRANSHIP_JOBS"
	ledgerBucket   = "TRANSHIP_LEDGER"

	deadRoot  = "tranship.dead."
	eventRoot = "tranship.event."
)

// Limits of the streams. An embedded server sets their sum aside on its disk;
// with one site it is less than MinStore.
const (
	maxWorkMsgs    = 100_000
	maxWorkBytes   = 256 << 20
	maxWorkMsg     = maxMessage // of a finish; other items are a quarter of it at most
	maxResultBytes = 512 << 20
	maxResultMsg   = maxMessage
	maxMessage     = 1<<20 - 16<<10 // a server takes 1 MiB; the rest is for headers when one is put aside
	maxDeadBytes   = 64 << 20
	maxEventBytes  = 64 << 20
	maxBucketBytes = 16 << 20
	maxMarkBytes   = 1 << 20

	maxAckPending = 10_000 // held by agents, per class; redelivering more at once would stop the server
	maxWaiting    = 4096   // agents that wait for work, per class; cannot be changed later
	maxBatch      = 256    // items per request
)

const (
	setupWait   = 30 * time.Second // a cluster may be electing
	lookAgain   = 15 * time.Second // before the queue of a site is looked at again
	presenceTTL = 45 * time.Second
	// removalWait passes before what is missing is made anew: a server forgets a
	// deleted stream before it has removed its files, and with them goes what
	// was stored in a new one meanwhile.
	removalWait = 300 * time.Millisecond
	markerTTL   = time.Hour // of deleted keys
)

// Setup makes the streams, consumers and buckets of the fleet, or brings
// existing ones up to this program's settings. It may be repeated at any time
// and by any number of coordinators. Once it was called, this Bus also makes
// anew whatever it finds missing later.
func (b *Bus) Setup(ctx context.Context) error {
	b.keepsAll.Store(true)
	ctx, cancel := context.WithTimeout(ctx, setupWait)
	defer cancel()
	steps := []func(context.Context) error{b.setupResults, b.setupLogs, b.setupBuckets}
	for _, step := range steps {
		if err := b.persist(ctx, step); err != nil {
			return fmt.Errorf("set up the queue: %w", b.explain(err))
		}
	}
	return nil
}

func (b *Bus) setupResults(ctx context.Context) error {
	stream := jetstream.StreamConfig{
		Name:        resultsStream,
		Description: "What agents say of items, until it is in the ledger: tranship.result.<site>.<agent>.<job>.<item>",
		Subjects:    []string{work.ResultSubjects},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    maxResultBytes,
		MaxMsgSize:  maxResultMsg,
		AllowDirect: true,
	}
	// The consumer has no filter: it also finds what does not belong here.
	consumer := jetstream.ConsumerConfig{
		Durable:       ledgerConsumer,
		Description:   "Coordinators take results here and write them to the ledger",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       b.opt.AckWait / 2,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
	}
	if err := b.putStream(ctx, stream); err != nil {
		return err
	}
	return b.putConsumer(ctx, resultsStream, consumer)
}

func (b *Bus) setupLogs(ctx context.Context) error {
	dead := jetstream.StreamConfig{
		Name:        deadStream,
		Description: "Messages that could not be read, with the reason, for people: tranship.dead.<subject it had>",
		Subjects:    []string{deadRoot + ">"},
		MaxAge:      30 * 24 * time.Hour,
		MaxBytes:    maxDeadBytes,
		AllowDirect: true,
	}
	events := jetstream.StreamConfig{
		Name:        eventsStream,
		Description: "What happened, for people: tranship.event.<what>.<job>",
		Subjects:    []string{eventRoot + ">"},
		MaxAge:      7 * 24 * time.Hour,
		MaxBytes:    maxEventBytes,
		AllowDirect: true,
	}
	return errors.Join(b.putStream(ctx, dead), b.putStream(ctx, events))
}

func (b *Bus) setupBuckets(ctx context.Context) error {
	agents := jetstream.KeyValueConfig{
		Bucket:         agentsBucket,
		Description:    "Agents that are alive, by <site>.<agent>; expires",
		TTL:            presenceTTL,
		LimitMarkerTTL: time.Minute, // watchers are told of expiry
		MaxBytes:       maxBucketBytes,
		Replicas:       b.opt.Replicas,
		Metadata:       metadata(),
	}
	jobs := jetstream.KeyValueConfig{
		Bucket:         jobsBucket,
		Description:    "State of open jobs, by id; agents watch it",
		LimitMarkerTTL: markerTTL,
		MaxBytes:       maxBucketBytes,
		Replicas:       b.opt.Replicas,
		Metadata:       metadata(),
	}
	ledger := jetstream.KeyValueConfig{
		Bucket:      ledgerBucket,
		Description: "The last ids of the ledger that was published here: a ledger that knows less was set back",
		MaxBytes:    maxMarkBytes,
		Replicas:    b.opt.Replicas,
		Metadata:    metadata(),
	}
	for _, cfg := range []jetstream.KeyValueConfig{agents, jobs, ledger} {
		if _, err := b.js.CreateOrUpdateKeyValue(ctx, cfg); err != nil {
			return fmt.Errorf("bucket %s: %w", cfg.Bucket, err)
		}
	}
	return nil
}

// AddSite makes the queue of a site if it is not there. It asks the server
// only now and then, so it may be called before every use.
func (b *Bus) AddSite(ctx context.Context, site string) error {
	if err := work.CheckName("site", site); err != nil {
		return err
	}
	b.mu.Lock()
	seen := b.sites[site]
	b.mu.Unlock()
	if time.Since(seen) < lookAgain {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, setupWait)
	defer cancel()
	// A site that was set up by this process is only looked at: settings that
	// an operator has changed since are theirs.
	if !seen.IsZero() {
		if b.whole(ctx, site) {
			b.sawSite(site, time.Now())
			return nil
		}
		sleep(ctx, removalWait)
	}
	if err := b.persist(ctx, func(ctx context.Context) error { return b.setupSite(ctx, site) }); err != nil {
		return fmt.Errorf("make the queue of site %s: %w", site, b.explain(err))
	}
	b.sawSite(site, time.Now())
	return nil
}

func (b *Bus) sawSite(site string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sites[site] = at
}

// whole reports whether nothing of a site's queue is known to be missing.
func (b *Bus) whole(ctx context.Context, site string) bool {
	for _, c := range work.Classes() {
		_, err := b.js.Consumer(ctx, workPrefix+site, string(c))
		if missing(err) {
			b.log.WarnContext(ctx, "queue of a site is gone, making it anew", "site", site, "class", c, "err", err)
			return false
		}
	}
	return true
}

func (b *Bus) setupSite(ctx context.Context, site string) error {
	name := workPrefix + site
	stream := jetstream.StreamConfig{
		Name:                 name,
		Description:          "Items queued for or held by agents at " + site + ": tranship.work." + site + ".<class>.<job>.<item>",
		Subjects:             []string{work.WorkSubjects(site)},
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1, // which makes publishing an item twice harmless
		MaxMsgs:              maxWorkMsgs,
		MaxBytes:             maxWorkBytes,
		MaxMsgSize:           maxWorkMsg,
		MaxConsumers:         20,
		AllowDirect:          true,
		Metadata:             map[string]string{"tranship.site": site},
	}
	if err := b.putStream(ctx, stream); err != nil {
		return err
	}
	for _, c := range work.Classes() {
		// No BackOff: it would override AckWait and the delays of Nak.
		cfg := jetstream.ConsumerConfig{
			Durable:           string(c),
			Description:       "Agents at " + site + " take items of class " + string(c) + " here",
			FilterSubject:     work.ClassSubjects(site, c),
			AckPolicy:         jetstream.AckExplicitPolicy,
			AckWait:           b.opt.AckWait,
			MaxDeliver:        -1, // the ledger decides when to give up
			MaxAckPending:     maxAckPending,
			MaxWaiting:        maxWaiting,
			MaxRequestBatch:   maxBatch,
			MaxRequestExpires: time.Minute,
			Metadata:          map[string]string{"tranship.site": site, "tranship.class": string(c)},
		}
		if err := b.putConsumer(ctx, name, cfg); err != nil {
			return err
		}
	}
	return nil
}

// putStream makes a stream or brings it to the given settings.
func (b *Bus) putStream(ctx context.Context, cfg jetstream.StreamConfig) error {
	cfg.Storage = jetstream.FileStorage
	cfg.Replicas = b.opt.Replicas
	all := metadata()
	for k, v := range cfg.Metadata {
		all[k] = v
	}
	cfg.Metadata = all
	if _, err := b.js.CreateOrUpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	return nil
}

// putConsumer makes a consumer or brings it to the given settings. A pause is
// the operator's and stays.
func (b *Bus) putConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) error {
	old, err := b.js.Consumer(ctx, stream, cfg.Durable)
	switch {
	case err == nil:
		cfg.PauseUntil = old.CachedInfo().Config.PauseUntil
		_, err = b.js.UpdateConsumer(ctx, stream, cfg)
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		_, err = b.js.CreateConsumer(ctx, stream, cfg)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			err = nil // another coordinator was faster
		}
	}
	if err != nil {
		return fmt.Errorf("consumer %s of stream %s: %w", cfg.Durable, stream, err)
	}
	return nil
}

// metadata marks what is ours, so that a later version knows what it finds.
func metadata() map[string]string { return map[string]string{"tranship.schema": "1"} }

// persist repeats a call while the servers are only not ready for it.
func (b *Bus) persist(ctx context.Context, call func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, callWait)
		err := call(try)
		cancel()
		if err == nil || !passing(err) || !sleep(ctx, 500*time.Millisecond) {
			return err
		}
	}
}

// passing reports whether an error goes away by itself.
func passing(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503 && api.ErrorCode != errNoJetStream && api.ErrorCode != errNoJetStreamAccount && !full(err)
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrDisconnected)
}

// missing reports whether an error says that a stream, consumer or bucket does
// not exist.
func missing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrNoResponders)
}

// explain adds what an operator can do about an error of the server.
func (b *Bus) explain(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: no JetStream answers in domain %q; enable it at the server, or set nats.domain", err, b.opt.Domain)
	case full(err):
		return fmt.Errorf("%w: the server has no disk left to set aside; raise nats.max_store", err)
	}
	return err
}
