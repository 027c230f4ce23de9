package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// systemd listens for what a daemon says, as systemd does.
func systemd(t *testing.T) <-chan string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ts-notify-") // short: a socket's name is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	said := make(chan string, 1000)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				close(said)
				return
			}
			said <- string(b[:n])
		}
	}()
	return said
}

// hear waits until systemd is told something that holds want.
func hear(t *testing.T, said <-chan string, want string) string {
	t.Helper()
	for s := range said {
		if strings.Contains(s, want) {
			return s
		}
	}
	t.Fatalf("systemd was never told %q", want)
	return ""
}

func TestNotifier(t *testing.T) {
	said := systemd(t)
	t.Setenv("WATCHDOG_USEC", "60000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	var sick, stuck atomic.Bool
	n := notifier{log: slog.New(slog.DiscardHandler), status: func() string { return "fine" }, healthy: func(ctx context.Context) error {
		if stuck.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
		if sick.Load() {
			return errors.New("the ledger\nis gone")
		}
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	hear(t, said, "READY=1\nSTATUS=fine")
	hear(t, said, "WATCHDOG=1\nSTATUS=fine")

	sick.Store(true)
	hear(t, said, "WATCHDOG=1\nSTATUS=not healthy: the ledger is gone")
	stuck.Store(true)
	hear(t, said, "STATUS=not healthy: context deadline exceeded")
	for range 3 { // a stuck process gives no sign of life, whatever else it says
		if s := <-said; strings.Contains(s, "WATCHDOG=1") {
			t.Errorf("a stuck process said %q", s)
		}
	}
	stuck.Store(false)
	sick.Store(false)
	hear(t, said, "WATCHDOG=1")
	cancel()
	hear(t, said, "STOPPING=1")
	if err := <-ended; err != nil {
		t.Errorf("run = %v, want nil", err)
	}
}

// TestDaemons runs a coordinator and an agent as systemd does, with their
// secrets as credentials.
func TestDaemons(t *testing.T) {
	said := systemd(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	address, metrics := freeAddress(t), freeAddress(t)
	data, credentials := t.TempDir(), t.TempDir()
	conf := filepath.Join(tree(t, map[string]string{"tranship.yaml": fmt.Sprintf(`
data: %s
log: {format: json}
nats: {listen: %s}
http: {listen: "127.0.0.1:0"}
agent: {name: a1, grace: 1s, metrics: %q}
`, data, address, metrics)}), "tranship.yaml")

	coordinator, agent := newWorld(t).withDatabase(t), newWorld(t)
	coordinator.env["TRANSHIP_NATS_AUTH"] = "keys"
	agent.env["CREDENTIALS_DIRECTORY"] = credentials
	stopCoordinator := coordinator.background(t, "coordinator", "--config", conf)
	up := hear(t, said, "READY=1")
	if !strings.Contains(up, "STATUS=serving http://127.0.0.1:") {
		t.Errorf("the coordinator said %q", up)
	}

	t.Run("no credentials", func(t *testing.T) {
		w := newWorld(t)
		w.wantStatus(t, ExitUnreachable, "agent", "--config", conf)
		if got := w.stderr.String(); !strings.Contains(got, "nats.credentials") {
			t.Errorf("the error is %s", got)
		}
	})

	creds, err := os.ReadFile(filepath.Join(data, "nats", "admin.creds"))
	if err == nil {
		err = os.WriteFile(filepath.Join(credentials, "nats-creds"), creds, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	stopAgent := agent.background(t, "agent", "--config", conf)
	if got := hear(t, said, "READY=1"); !strings.Contains(got, "0 of 8 streams") {
		t.Errorf("the agent said %q", got)
	}
	if got := fetch(t, "http://"+metrics+"/metrics"); !strings.Contains(got, `tranship_agent_streams_limit{agent="a1"} 8`) {
		t.Errorf("the agent's metrics are\n%s", got)
	}
	if got := stopCoordinator(); got != ExitOK {
		t.Errorf("the coordinator ended with %d\n%s", got, coordinator.stderr.String())
	}
	// The queue went with the coordinator; the agent waits for it.
	hear(t, said, "WATCHDOG=1\nSTATUS=cut off")
	if got := stopAgent(); got != ExitOK {
		t.Errorf("the agent ended with %d\n%s", got, agent.stderr.String())
	}
	for _, w := range []*world{coordinator, agent} {
		if !strings.HasPrefix(w.stderr.String(), `{"time":`) || strings.Contains(w.stderr.String(), "SEED") || strings.Contains(w.stderr.String(), "SU") {
			t.Errorf("the log is\n%s", w.stderr.String())
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	release, err := lockData(dir, "up")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockData(dir, "copy")
	want := fmt.Sprintf("the data folder %s is in use by process %d (tranship up)", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("a second lock = %v, want %q", err, want)
	}
	release()
	release, err = lockData(dir, "copy")
	if err != nil {
		t.Errorf("after the release: %v", err)
	} else {
		release()
	}
}

// fetch returns the body of a page.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
