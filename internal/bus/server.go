package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MinStore is the least disk that an embedded server can work with: room for
// the results, the logs for people and the items of one site.
const MinStore = 1 << 30

// syncInterval is how much of what was acknowledged a power cut may cost.
const syncInterval = time.Second

// startWait bounds how long a server may take to answer once its store is read.
const startWait = 10 * time.Second

// ErrInUse means that the folder or the address of a server belongs to another
// process.
var ErrInUse = errors.New("in use by another process")

// ServerOptions say where an embedded server keeps its data and who may reach
// it.
type ServerOptions struct {
	Dir      string // for the streams; created when missing, used by one server at a time
	Listen   string // host:port; port 0 takes any free one. Empty: this process alone
	Domain   string // of JetStream; empty: hub
	Open     bool   // let everybody in who reaches Listen, which then must be loopback; else: who has a JWT
	TLS      TLS    // its certificate and key; any address but loopback needs them
	MaxStore int64  // bytes of disk; 0: three quarters of what is free at the start
	// Revoked are the public keys of all agents that were revoked: from the first
	// connection on the server keeps them out.
	Revoked []string
	Log     *slog.Logger
}

// A Server is a NATS server inside this process. One that can no longer write
// is restarted once there is room again.
type Server struct {
	dir    string
	opts   *server.Options
	log    *slog.Logger
	lock   *os.File
	domain string
	trust  *trust // nil: everybody is let in who reaches it
	tcp    bool
	stop   sync.Once

	mu sync.RWMutex
	ns *server.Server // nil while it is being restarted

	quit    chan struct{} // closed to end watch
	watched chan struct{} // closed when watch has ended
}

// StartServer starts a server on the data in o.Dir and returns once it takes
// connections. What the server acknowledged survives the death of the process;
// the death of the machine may cost the last second.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	opts, err := serverOptions(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("start the queue server: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start the queue server: %w", err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start the queue server: %w", err)
	}
	s := &Server{
		dir: o.Dir, opts: opts, log: o.Log, lock: lock, domain: o.Domain, tcp: o.Listen != "",
		quit: make(chan struct{}), watched: make(chan struct{}),
	}
	if s.tcp && !o.Open {
		s.trust, err = newTrust(s, o.Revoked)
	}
	var ns *server.Server
	if err == nil {
		ns, err = launch(ctx, opts, o.Log)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the queue server in %s: %w", o.Dir, err), lock.Close())
	}
	s.ns = ns
	// One that is started again takes the same port, and sets as much aside.
	if addr, ok := ns.Addr().(*net.TCPAddr); ok && s.tcp {
		opts.Port = addr.Port
	}
	opts.JetStreamMaxStore = ns.JetStreamConfig().MaxStore
	go s.watch()
	o.Log.InfoContext(ctx, "queue server started", "dir", o.Dir, "url", s.URL(), "domain", o.Domain)
	return s, nil
}

// Check returns why a server with these options could not start, as far as that
// takes no time to find: its address may be in use, or its certificate missing.
func (o ServerOptions) Check(ctx context.Context) error {
	if _, err := serverOptions(ctx, &o); err != nil {
		return fmt.Errorf("start the queue server: %w", err)
	}
	return nil
}

// serverOptions fills the gaps of o and turns it into what the server reads.
func serverOptions(ctx context.Context, o *ServerOptions) (*server.Options, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Domain == "" {
		o.Domain = defaultDomain
	}
	if o.Dir == "" {
		return nil, errors.New("no folder for its data is set")
	}
	if o.MaxStore != 0 && o.MaxStore < MinStore {
		return nil, fmt.Errorf("a store of %d bytes is too small: give it at least %d (nats.max_store)", o.MaxStore, int64(MinStore))
	}
	opts := &server.Options{
		ServerName:             "tranship",
		JetStream:              true,
		StoreDir:               o.Dir,
		JetStreamDomain:        o.Domain,
		JetStreamMaxStore:      o.MaxStore,
		SyncInterval:           syncInterval,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
		NoLog:                  true, // it would open its own; see launch
		DontListen:             o.Listen == "",
	}
	if opts.DontListen {
		return opts, nil
	}
	host, port, err := listenAddress(ctx, o)
	if err != nil {
		return nil, err
	}
	opts.Host, opts.Port = host, port
	opts.TLSConfig, err = serverTLS(o.TLS, o.Log)
	return opts, err
}

// listenAddress checks that o.Listen may and can be listened on, and splits it.
func listenAddress(ctx context.Context, o *ServerOptions) (host string, port int, err error) {
	address := o.Listen
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("listen address %q: %w; write host:port, for example 127.0.0.1:4222", address, err)
	}
	if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("listen address %q: %q is not a port", address, p)
	}
	switch {
	case loopback(host):
	case o.Open:
		return "", 0, fmt.Errorf("listen address %s is reachable from other machines: set nats.auth to keys, or listen on 127.0.0.1", address)
	case o.TLS.Certificate == "":
		return "", 0, fmt.Errorf("listen address %s is reachable from other machines: set nats.tls.certificate and nats.tls.key, or listen on 127.0.0.1", address)
	}
	// The server reports a taken port as text only, so it is tried here first.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", 0, fmt.Errorf("%w: %s; stop what listens there, or set nats.listen to another address", ErrInUse, address)
	}
	if err != nil {
		return "", 0, fmt.Errorf("listen on %s (nats.listen): %w", address, err)
	}
	if err := l.Close(); err != nil {
		return "", 0, fmt.Errorf("listen on %s: %w", address, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// loopback reports whether only this machine can reach host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// lockFolder takes the folder for this process. Two servers on one store would
// write over each other's messages and the server itself does not look.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "tranship.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: folder %s; stop the other coordinator, or give this one another data folder", ErrInUse, dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// launch starts a server and waits until it answers.
func launch(ctx context.Context, opts *server.Options, log *slog.Logger) (*server.Server, error) {
	ns, err := server.NewServer(opts.Clone())
	if err != nil {
		return nil, err
	}
	bridge := &serverLog{log: log}
	ns.SetLoggerV2(bridge, false, false, false)
	ns.Start()

	wait := startWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	ready := bridge.fatal() == nil && ns.ReadyForConnections(wait)
	if err := bridge.fatal(); err != nil || !ready {
		ns.Shutdown()
		ns.WaitForShutdown()
		if err == nil {
			err = fmt.Errorf("it took no connections within %v", wait)
		}
		return nil, err
	}
	return ns, nil
}

// Authority returns who signs the credentials of agents; nil if the server lets
// everybody in who reaches it, or only this process can.
func (s *Server) Authority() *Authority {
	if s.trust == nil {
		return nil
	}
	return s.trust.authority
}

// URL returns where clients connect; it is empty if only this process can, or
// while the server is being restarted.
func (s *Server) URL() string {
	if !s.tcp {
		return ""
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ns == nil {
		return ""
	}
	return s.ns.ClientURL()
}

// Shutdown stops the server and returns when its files are closed. It may be
// called more than once. Clients should be closed before.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		close(s.quit)
		<-s.watched
		if s.ns != nil { // nobody else changes it any more
			s.ns.Shutdown()
			s.ns.WaitForShutdown()
		}
		_ = s.lock.Close() // gives the folder back; nothing was written
	})
}

// A serverLog hands what the server logs to slog. The server tells of failures
// to start only here, so it also keeps the first of those.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex // guards first
	first error
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Noticef implements server.Logger. Its notices are for debugging a server.
func (l *serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.say(slog.LevelWarn, format, v) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.say(slog.LevelError, format, v) }

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, v ...any) { l.say(slog.LevelDebug, format, v) }

// Tracef implements server.Logger.
func (l *serverLog) Tracef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }

// Fatalf implements server.Logger. It does not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.first == nil {
		l.first = fmt.Errorf(format, v...)
	}
	l.mu.Unlock()
	l.say(slog.LevelError, format, v)
}

func (l *serverLog) say(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "queue server", "says", fmt.Sprintf(format, v...))
	}
}
