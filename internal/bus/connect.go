package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tranship/tranship/internal/work"
)

const (
	defaultURL     = "nats://127.0.0.1:4222"
	defaultDomain  = "hub"
	defaultName    = "tranship"
	defaultAckWait = 120 * time.Second

	dialWait    = 3 * time.Second  // for one attempt to connect
	callWait    = 5 * time.Second  // for one answer of the server
	storeWait   = 10 * time.Second // for a stream to confirm a message
	closeWait   = 2 * time.Second  // for what was sent last to leave
	inboxPrefix = "_INBOX_"        // before a client's name; others cannot read its replies
	window      = 256              // messages on their way to a stream; more would starve its consumers
	stallWait   = 30 * time.Second // for room in the window
)

// ErrClosed means that the Bus was closed.
var ErrClosed = errors.New("the connection to the queue was closed")

// Options say which queue to use and how.
type Options struct {
	URL         string  // of the servers, comma separated; empty: nats://127.0.0.1:4222
	Server      *Server // in this process, instead of URL
	Name        string  // of this client, as operators see it; an agent's own name
	Credentials string  // path of a .creds file; Server needs none
	TLS         TLS     // whom to trust that a server is who it says
	Domain      string  // of JetStream; empty: hub
	Replicas    int     // of every stream that Setup makes; 0: 1
	Log         *slog.Logger

	// JWT returns what an agent was issued, and Seed is its key's secret, instead
	// of Credentials. JWT is asked at each connection, so that a renewed one
	// counts; an error is a failure to connect, which is tried again.
	JWT  func() (string, error)
	Seed string

	// AckWait is how long an item may stay with an agent without a sign of
	// life before another gets it. 0: two minutes, which outlasts a restart of
	// the server. Results wait half as long for their acknowledgement. What
	// counts is that of the side that publishes, see Bus.AckWait.
	AckWait time.Duration
}

// A Bus is one connection to the queue.
type Bus struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	opt Options
	log *slog.Logger
	api string // prefix of JetStream requests

	watchFor time.Duration // see the constant
	turn     atomic.Uint64 // of Take, for its fairness between classes
	ackWait  atomic.Int64  // the smallest that a message told of; 0: none has
	anywhere anywhere      // of Take
	inbox    *inbox        // of Take and Results
	keepsAll atomic.Bool   // Setup was called: this side makes what is missing

	mu    sync.Mutex           // guards sites
	sites map[string]time.Time // when the queue of a site was last seen whole
}

// Connect connects to the queue. While nothing answers it tries again until
// ctx ends and then says why; a refusal ends it at once. Later losses of the
// connection are repaired for ever, without an end.
func Connect(ctx context.Context, o Options) (*Bus, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Server != nil {
		o.URL, o.Credentials, o.TLS = "", "", TLS{}
		o.Domain = cmp.Or(o.Domain, o.Server.domain)
	} else {
		o.URL = cmp.Or(o.URL, defaultURL)
	}
	o.Domain = cmp.Or(o.Domain, defaultDomain)
	o.Name = cmp.Or(o.Name, defaultName)
	o.AckWait = cmp.Or(o.AckWait, defaultAckWait)
	o.Replicas = max(o.Replicas, 1)

	b := &Bus{opt: o, log: o.Log, api: "$JS." + o.Domain + ".API.", watchFor: watchFor, sites: map[string]time.Time{}}
	nc, err := b.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", b.where(), err)
	}
	js, err := jetstream.NewWithDomain(nc, o.Domain,
		jetstream.WithPublishAsyncMaxPending(window),
		jetstream.WithPublishAsyncTimeout(storeWait))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to the queue: %w", err)
	}
	b.nc, b.js = nc, js
	b.inbox = newInbox(b)
	return b, nil
}

// dial tries to connect until it works, cannot work without a change here, or
// ctx ends.
func (b *Bus) dial(ctx context.Context) (*nats.Conn, error) {
	opts := b.natsOptions()
	var unreadable *url.Error
	var file *fs.PathError
	for try := 0; ; try++ {
		nc, err := nats.Connect(b.opt.URL, opts...)
		switch {
		case err == nil:
			return nc, nil
		case refused(err):
			return nil, fmt.Errorf("%w: check nats.credentials, or whether this agent has joined and was not revoked", err)
		case errors.As(err, &unreadable):
			return nil, unreadable.Err // without the URL, which may hold a password
		case errors.As(err, &file):
			return nil, err
		}
		if try == 1 { // once, and not for the first moments of a common start
			b.log.WarnContext(ctx, "queue does not answer yet", "queue", b.where(), "err", err)
		}
		if !sleep(ctx, min(100*time.Millisecond<<min(try, 5), 2*time.Second)) {
			return nil, fmt.Errorf("nothing answers there (%w): start the coordinator or the NATS server, or set nats.url", err)
		}
	}
}

func (b *Bus) natsOptions() []nats.Option {
	opts := []nats.Option{
		nats.Name(b.opt.Name),
		nats.CustomInboxPrefix(inboxPrefix + token(b.opt.Name)),
		nats.Timeout(dialWait),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // or two refusals during a restart would end it
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.PingInterval(20 * time.Second),
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.log.Warn("queue disconnected", "err", err)
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.log.Info("queue connected again", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), "."+anyStream+".") && b.anywhere.open() {
				b.anywhere.close(forbiddenWait)
				b.log.Warn("no right to take the items that any agent may work on; give this agent those that it has on its own site for the site "+work.AnySite, "err", err)
				return
			}
			b.log.Error("queue error", "subject", subjectOf(sub), "err", err)
		}),
	}
	if b.opt.Server != nil {
		opts = append(opts, nats.InProcessServer(b.opt.Server))
	}
	if b.opt.TLS.CA != "" {
		opts = append(opts, nats.RootCAs(b.opt.TLS.CA))
	}
	switch {
	case b.opt.JWT != nil:
		opts = append(opts, nats.UserJWT(b.opt.JWT, signWith(b.opt.Seed)))
	case b.opt.Credentials != "":
		opts = append(opts, nats.UserCredentials(b.opt.Credentials))
	case b.opt.Server != nil && b.opt.Server.trust != nil:
		opts = append(opts, b.opt.Server.trust.coordinator())
	}
	return opts
}

// signWith returns how a client proves that the key of a seed is its own.
func signWith(seed string) nats.SignatureHandler {
	return func(nonce []byte) ([]byte, error) {
		pair, err := pairOf(nkeys.PrefixByteUser, seed)
		if err != nil {
			return nil, fmt.Errorf("this agent's key: %w", err)
		}
		defer pair.Wipe()
		return pair.Sign(nonce)
	}
}

// Close sends what is still to be sent and ends the connection.
func (b *Bus) Close() {
	if b.nc.IsConnected() {
		b.inbox.close()
		_ = b.nc.FlushTimeout(closeWait) // what does not leave now is repeated by the other side
	}
	b.nc.Close()
}

// Healthy returns nil while the queue answers, or what is wrong with it.
func (b *Bus) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if !b.nc.IsConnected() {
		return fmt.Errorf("%s: not connected%s", b.where(), because(b.nc.LastError()))
	}
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("%s: %w", b.where(), err)
	}
	if b.opt.Server != nil {
		if err := b.opt.Server.Healthz(); err != nil {
			return err
		}
	}
	if !b.keepsAll.Load() {
		return nil // an agent may not be allowed to ask more
	}
	if _, err := b.js.Stream(ctx, resultsStream); err != nil {
		return fmt.Errorf("queue: stream %s: %w", resultsStream, err)
	}
	return nil
}

// refused reports whether a server answered and did not let us in.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// where names the queue for people.
func (b *Bus) where() string {
	if b.opt.Server != nil {
		return "the queue in this process"
	}
	return "the queue at " + redact(b.opt.URL)
}

// redact returns the addresses in a list of URLs without user names and
// passwords.
func redact(list string) string {
	urls := strings.Split(list, ",")
	for i, s := range urls {
		u, err := url.Parse(strings.TrimSpace(s))
		switch {
		case err != nil:
			urls[i] = "an unreadable address"
		case u.User != nil:
			u.User = url.User("REDACTED")
			urls[i] = u.String()
		}
	}
	return strings.Join(urls, ",")
}

// token returns s with everything replaced that cannot stand in one token of
// a subject.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, s)
}

func subjectOf(sub *nats.Subscription) string {
	if sub == nil {
		return ""
	}
	return sub.Subject
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// sleep waits for d and reports whether ctx allowed it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
