package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	healthEvery = 3 * time.Second
	healLater   = time.Minute // at most between two tries to heal
	// healRoom is how many bytes the disk must have free: less would be full
	// again at once.
	healRoom = 4 << 20
	// folderWait is more than a server takes between knowing a stream and having
	// made its folder.
	folderWait = 200 * time.Millisecond
	// globalAccount is the one of a server that lets everybody in.
	globalAccount = "$G"
)

var (
	// errRestarting means that the server is being restarted.
	errRestarting = errors.New("queue server: it is being restarted because it could not write")
	// errHomeless means that a stream cannot store anything any more.
	errHomeless = errors.New("its folder is gone")
)

// watch heals the server until quit is closed.
//
// A stream whose disk was full, or broken, for a moment takes nothing more
// until the server is restarted, whatever becomes of the disk. What it had
// confirmed is there afterwards. One that lost its folder is not, and is made
// anew by whoever misses it.
func (s *Server) watch() {
	defer close(s.watched)
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	var told bool
	var next time.Time
	pause := healthEvery
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		err := s.Healthz()
		if !wounded(err) {
			told, pause = false, healthEvery
			continue
		}
		if !told {
			told = true
			s.log.Error("queue server cannot write; it takes no items and no results until it can, and then is restarted", "dir", s.dir, "err", err)
		}
		if free(s.dir) < healRoom || time.Now().Before(next) {
			continue
		}
		if err := s.restart(); err != nil {
			s.log.Error("queue server cannot be restarted, trying on", "dir", s.dir, "err", err)
		}
		next = time.Now().Add(pause)
		pause = min(2*pause, healLater)
	}
}

// restart replaces the server by one on the same folder and address. Clients
// connect again by themselves.
func (s *Server) restart() error {
	s.mu.Lock()
	old := s.ns
	s.ns = nil
	s.mu.Unlock()
	if old != nil {
		old.Shutdown()
		old.WaitForShutdown()
	}
	ns, err := launch(context.Background(), s.opts, s.log)
	if err != nil {
		return fmt.Errorf("restart the queue server in %s: %w", s.dir, err)
	}
	s.mu.Lock()
	s.ns = ns
	s.mu.Unlock()
	if s.trust != nil {
		s.trust.restarted()
	}
	s.log.Info("queue server restarted because it could not write", "dir", s.dir)
	return nil
}

// InProcessConn implements nats.InProcessConnProvider, for the server as it is
// now.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ns == nil {
		return nil, errRestarting
	}
	return s.ns.InProcessConn()
}

// Healthz returns nil while the server can store messages, or what keeps it
// from that, such as a full disk, which is ErrFull.
func (s *Server) Healthz() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ns == nil {
		return errRestarting
	}
	says := s.ailing(s.ns.Healthz(&server.HealthzOptions{Details: true}))
	switch {
	case says == "":
		return homeless(s.ns)
	case strings.Contains(says, syscall.ENOSPC.Error()):
		return fmt.Errorf("queue server: %w: %s", ErrFull, says)
	}
	return fmt.Errorf("queue server: %s", says)
}

// ailing returns what is wrong with the server, empty if nothing is. What lies
// in its folder of accounts that it does not serve is not: that is of a time
// when it let everybody in, or had other keys.
func (s *Server) ailing(h *server.HealthStatus) string {
	ours := globalAccount
	if s.trust != nil {
		ours = public(s.trust.keys.fleet)
	}
	for _, e := range h.Errors {
		if e.Account == "" || e.Account == ours {
			return e.Error
		}
	}
	if h.Status == "ok" || len(h.Errors) > 0 {
		return ""
	}
	return cmp.Or(h.Error, h.Status)
}

// homeless returns an error if a stream has lost its folder, which the server
// does not look at: when a stream is made anew while the files of a deleted one
// with its name are still being removed, those of the new one go with them. It
// then looks well but takes nothing.
func homeless(ns *server.Server) error {
	lost := lostFolders(ns)
	if len(lost) == 0 {
		return nil
	}
	time.Sleep(folderWait)
	for id := range lostFolders(ns) {
		if lost[id] {
			return fmt.Errorf("queue server: stream %s: %w", id.name, errHomeless)
		}
	}
	return nil // it was just being made or deleted
}

// A streamID tells a stream from a later one with its name.
type streamID struct {
	name    string
	created time.Time
}

// lostFolders returns the streams on disk whose folder is not there now.
func lostFolders(ns *server.Server) map[streamID]bool {
	js, err := ns.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Config: true})
	if err != nil {
		return nil // it is ending
	}
	lost := map[streamID]bool{}
	for _, a := range js.AccountDetails {
		for _, d := range a.Streams {
			if d.Config == nil || d.Config.Storage != server.FileStorage {
				continue
			}
			dir := filepath.Join(js.Config.StoreDir, a.Id, "streams", d.Name, "msgs")
			if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
				lost[streamID{d.Name, d.Created}] = true
			}
		}
	}
	return lost
}

// wounded reports whether only a restart makes the server whole. Of a write
// error it has no better sign than the text.
func wounded(err error) bool {
	return errors.Is(err, errRestarting) || errors.Is(err, errHomeless) || err != nil && strings.Contains(err.Error(), "write error")
}

// free returns how many bytes may be written to the disk of a folder.
func free(dir string) uint64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}
