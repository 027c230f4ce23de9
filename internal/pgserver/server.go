package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrInUse means that another process owns the folder.
var ErrInUse = errors.New("the database folder is in use")

// superuser is the only role of the cluster; it owns everything.
const superuser = "tranship"

// How long a server may take to obey before it is asked more firmly.
const (
	fastShutdown      = 60 * time.Second // it may have a lot to write
	immediateShutdown = 5 * time.Second
)

// Options say how to run a server.
type Options struct {
	Dir      string            // the folder; made if it is not there
	NoSync   bool              // faster, but a crash of the machine loses data: for tests
	Log      *slog.Logger      // nil: silent
	Settings map[string]string // parameters of the server, over the defaults
}

// A Server is a running PostgreSQL.
type Server struct {
	dir     string
	log     *slog.Logger
	sockets socketDir
	lock    *folderLock
	cmd     *exec.Cmd
	logFrom int64 // where this run begins in the log

	done chan struct{} // closed when the process has ended
	err  error         // of the process; read after done

	stopping chan struct{}
	stop     func() error
}

// Start runs a server on o.Dir and returns when it answers. A folder that is
// new gets a cluster; one that was left in disorder is recovered, which takes
// as long as the server needs, within ctx.
//
// The error is ErrNoBinaries if PostgreSQL is not installed, ErrInUse if the
// folder has an owner already.
func Start(ctx context.Context, o Options) (*Server, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the database folder %s: %w", o.Dir, err)
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the database folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		dir: dir, log: log.With("dir", dir), lock: lock,
		done: make(chan struct{}), stopping: make(chan struct{}),
	}
	s.stop = sync.OnceValue(s.shutdown)
	if err := s.start(ctx, o); err != nil {
		lock.release()
		return nil, fmt.Errorf("start PostgreSQL on %s: %w", dir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	data := filepath.Join(s.dir, "data")
	if err := stopOrphans(ctx, data, s.log); err != nil {
		return err
	}
	bin, err := findBinaries(data)
	if err != nil {
		return err
	}
	as, err := chooseIdentity(ctx, bin, s.dir, data)
	if err != nil {
		return err
	}
	if err := ensureCluster(ctx, bin, as, s.dir, data, o.NoSync, s.log); err != nil {
		return err
	}
	if s.sockets, err = openSocketDir(s.dir, as); err != nil {
		return err
	}
	logFile, from, err := openLog(s.dir)
	if err != nil {
		return err
	}
	defer logFile.Close() // the child has its own copy
	s.logFrom = from

	s.cmd = as.command(bin.postgres, append([]string{"-D", data}, settings(o, s.sockets.path)...)...)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	if err := s.launch(); err != nil {
		return fmt.Errorf("run %s: %w", bin.postgres, err)
	}
	if err := s.ready(ctx); err != nil {
		return errors.Join(err, s.stop())
	}
	go s.watch()
	s.log.InfoContext(ctx, "postgres is ready", "version", bin.version, "pid", s.PID(), "as", as.name)
	return nil
}

// launch starts the process from a goroutine that keeps its thread until the
// process has ended: the kernel sends the death signal when the thread that
// started the child dies, not when the process does.
func (s *Server) launch() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.done)
		}
	}()
	return <-started
}

// ready waits until the server answers queries.
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	patience := time.NewTicker(10 * time.Second)
	defer patience.Stop()
	for {
		err := s.ping(ctx)
		if err == nil || refused(err) {
			return err
		}
		select {
		case <-s.done:
			return fmt.Errorf("the server ended at once (%w); its log says:\n%s", s.exit(), logTail(s.dir, s.logFrom))
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w (last answer: %w); its log says:\n%s", ctx.Err(), err, logTail(s.dir, s.logFrom))
		case <-patience.C:
			s.log.InfoContext(ctx, "postgres is still starting", "err", err)
		case <-tick.C:
		}
	}
}

// exit is how the process ended, never nil. It may be called after done.
func (s *Server) exit() error {
	if s.err == nil {
		return errors.New("exit status 0")
	}
	return s.err
}

// watch tells when the server ends without having been asked to.
func (s *Server) watch() {
	<-s.done
	select {
	case <-s.stopping:
	default:
		s.log.Error("postgres ended by itself", "err", s.exit(), "tail", logTail(s.dir, s.logFrom))
	}
}

// URL returns how to connect to a database of the server. It works with psql
// as well.
func (s *Server) URL(database string) string {
	q := url.Values{"host": {s.sockets.path}, "port": {port}, "user": {superuser}, "sslmode": {"disable"}}
	// libpq does not read + as a space.
	return "postgres:///" + url.PathEscape(database) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// PID returns the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the server has ended, by itself or by Stop.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop shuts the server down, in order if that is possible, and gives the
// folder free. It returns when the process has ended. Stopping a server again
// is harmless.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) shutdown() error {
	close(s.stopping)
	var err error
	if !s.end(syscall.SIGINT, fastShutdown) && !s.end(syscall.SIGQUIT, immediateShutdown) {
		s.end(syscall.SIGKILL, 0)
		err = fmt.Errorf("postgres process %d had to be killed; the next start recovers", s.PID())
	}
	s.sockets.remove()
	s.lock.release()
	return err
}

// end signals the process and waits; zero means for ever.
func (s *Server) end(sig os.Signal, wait time.Duration) bool {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.log.Warn("postgres could not be signalled", "signal", sig, "err", err)
	}
	var late <-chan time.Time
	if wait > 0 {
		late = time.After(wait)
	}
	select {
	case <-s.done:
		return true
	case <-late:
		return false
	}
}

// settings returns the server's arguments: what makes it private, what suits
// a ledger on a small machine, and what the caller wants otherwise.
func settings(o Options, sockets string) []string {
	set := map[string]string{
		"shared_buffers":                  "128MB",
		"max_connections":                 "100",
		"work_mem":                        "16MB",
		"maintenance_work_mem":            "128MB",
		"wal_level":                       "minimal", // nobody replicates from here
		"max_wal_senders":                 "0",
		"max_wal_size":                    "2GB",
		"checkpoint_timeout":              "15min",
		"wal_compression":                 "on",
		"random_page_cost":                "1.1",
		"jit":                             "off", // its start-up costs more than our queries
		"autovacuum_naptime":              "15s",
		"max_worker_processes":            "4",
		"max_parallel_workers_per_gather": "1",
		"timezone":                        "UTC",
		"log_timezone":                    "UTC",
		"log_checkpoints":                 "off",
		"log_line_prefix":                 "%m [%p] %a ",
		"log_min_duration_statement":      "5s",
	}
	if o.NoSync {
		set["fsync"], set["full_page_writes"], set["synchronous_commit"] = "off", "off", "off"
		set["shared_buffers"] = "32MB" // many such servers may run side by side
	}
	maps.Copy(set, o.Settings)
	set["listen_addresses"] = ""
	set["port"] = port
	set["unix_socket_directories"] = `"` + strings.ReplaceAll(sockets, `"`, `""`) + `"`
	set["unix_socket_permissions"] = "0700"
	set["logging_collector"] = "off" // the log is a file already

	var args []string
	for _, k := range slices.Sorted(maps.Keys(set)) {
		args = append(args, "-c", k+"="+set[k])
	}
	return args
}

// exists reports whether there is a file or folder of the name.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
