package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
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
)

// errRestarting means that the server is being restarted after a write error.
var errRestarting = errors.New("queue server: it is being restarted after a write error")

// watch heals the server until quit is closed.
//
// A stream whose disk was full, or broken, for a moment takes nothing more
// until the server is restarted, whatever becomes of the disk. What it had
// confirmed is there afterwards.
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
	s.log.Info("queue server restarted after a write error", "dir", s.dir)
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
	h := s.ns.Healthz(&server.HealthzOptions{})
	if h.Status == "ok" {
		return nil
	}
	if h.Error == "" {
		h.Error = h.Status
	}
	if strings.Contains(h.Error, syscall.ENOSPC.Error()) {
		return fmt.Errorf("queue server: %w: %s", ErrFull, h.Error)
	}
	return fmt.Errorf("queue server: %s", h.Error)
}

// wounded reports whether only a restart makes the server whole. It has no
// better sign than the text.
func wounded(err error) bool {
	return err != nil && (errors.Is(err, errRestarting) || strings.Contains(err.Error(), "write error"))
}

// free returns how many bytes may be written to the disk of a folder.
func free(dir string) uint64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}
