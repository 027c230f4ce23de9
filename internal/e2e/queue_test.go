package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// queueVariable makes the test binary a NATS server instead, as large
// installations run one, so that the queue can die by itself.
const queueVariable = "TRANSHIP_QUEUE"

// queueMain is the server: it runs on the folder and at the address in words
// until it is told to end.
func queueMain(words string) error {
	dir, address, ok := strings.Cut(words, " ")
	host, port, err := net.SplitHostPort(address)
	if !ok || err != nil {
		return fmt.Errorf("%s: %q is not a folder and an address", queueVariable, words)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "queue", Host: host, Port: n,
		JetStream: true, JetStreamDomain: "hub", StoreDir: dir,
		JetStreamMaxStore: 8 << 30, // whatever the disk holds
		SyncAlways:        true,    // what was acknowledged is on the disk
	})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("it took no connections within a minute")
	}
	s.WaitForShutdown()
	return nil
}

// A queue is a NATS server in a process of its own.
type queue struct {
	*daemon
	dir     string // its streams
	address string
}

// startQueue starts a queue on a folder until the test ends.
func startQueue(t testing.TB, dir string) *queue {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{dir: dir, address: freeAddress(t)}
	q.daemon = startProgram(t, "queue", []string{queueVariable + "=" + dir + " " + q.address}, self)
	eventually(t, "the queue to listen", time.Minute, func() bool {
		conn, err := net.Dial("tcp", q.address)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return q
}

func (q *queue) url() string { return "nats://" + q.address }

// keep copies the folder as it is at one moment, as a power cut would leave it.
func (q *queue) keep(t testing.TB) string {
	t.Helper()
	kept := filepath.Join(t.TempDir(), "kept")
	q.freeze()
	defer q.thaw()
	if err := os.CopyFS(kept, os.DirFS(q.dir)); err != nil {
		t.Fatal(err)
	}
	return kept
}

// lose kills the server and starts it on nothing, or on what keep returned.
func (q *queue) lose(t testing.TB, kept string) {
	t.Helper()
	q.kill()
	if err := os.RemoveAll(q.dir); err != nil {
		t.Fatal(err)
	}
	if kept != "" {
		if err := os.CopyFS(q.dir, os.DirFS(kept)); err != nil {
			t.Fatal(err)
		}
	}
	q.start(t)
}

// stream looks at a stream; false if the queue does not answer, or has none of
// that name.
func (q *queue) stream(t testing.TB, name string) (jetstream.StreamState, bool) {
	t.Helper()
	nc, err := nats.Connect(q.url(), nats.Timeout(5*time.Second))
	if err != nil {
		return jetstream.StreamState{}, false
	}
	defer nc.Close()
	js, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		return jetstream.StreamState{}, false
	}
	return s.CachedInfo().State, true
}

// idle reports whether no item and no result is on the queue.
func (q *queue) idle(t testing.TB) bool {
	t.Helper()
	work, ok := q.stream(t, "TRANSHIP_WORK_default")
	results, also := q.stream(t, "TRANSHIP_RESULTS")
	return ok && also && work.Msgs == 0 && results.Msgs == 0
}
