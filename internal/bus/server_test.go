package bus

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func TestStartServerRefuses(t *testing.T) {
	t.Parallel()
	running := startServer(t, ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	address := strings.TrimPrefix(running.URL(), "nats://")
	locked := t.TempDir()
	startServer(t, ServerOptions{Dir: locked})

	tests := []struct {
		name  string
		o     ServerOptions
		inUse bool
		want  []string // in the error
	}{
		{"port in use", ServerOptions{Dir: t.TempDir(), Listen: address}, true, []string{address, "nats.listen"}},
		{"folder in use", ServerOptions{Dir: locked}, true, []string{locked, "other coordinator"}},
		{"every interface, open", ServerOptions{Dir: t.TempDir(), Listen: ":0", Open: true}, false, []string{"nats.auth"}},
		{"public address, open", ServerOptions{Dir: t.TempDir(), Listen: "192.0.2.1:4222", Open: true}, false, []string{"192.0.2.1:4222", "nats.auth"}},
		{"public name, open", ServerOptions{Dir: t.TempDir(), Listen: "queue.example.com:4222", Open: true}, false, []string{"nats.auth"}},
		{"every interface without a certificate", ServerOptions{Dir: t.TempDir(), Listen: ":0"}, false, []string{"nats.tls.certificate"}},
		{"no such certificate", ServerOptions{Dir: t.TempDir(), Listen: ":0", TLS: TLS{Certificate: "/nowhere/c.pem", Key: "/nowhere/k.pem"}}, false, []string{"nats.tls", "/nowhere/c.pem"}},
		{"no port", ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1"}, false, []string{"127.0.0.1:4222"}},
		{"no such port", ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:99999"}, false, []string{"99999"}},
		{"no folder", ServerOptions{}, false, []string{"folder"}},
		{"tiny store", ServerOptions{Dir: t.TempDir(), MaxStore: 1 << 20}, false, []string{"nats.max_store"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := StartServer(testContext(t), tt.o)
			if err == nil {
				s.Shutdown()
				t.Fatal("the server started")
			}
			if errors.Is(err, ErrInUse) != tt.inUse {
				t.Errorf("errors.Is(%v, ErrInUse) = %v, want %v", err, !tt.inUse, tt.inUse)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestFolderIsFreeAfterShutdown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, ServerOptions{Dir: dir})
	first.Shutdown()
	first.Shutdown() // may be repeated
	startServer(t, ServerOptions{Dir: dir})
}

func TestHealthz(t *testing.T) {
	t.Parallel()
	s := startServer(t, ServerOptions{Listen: "127.0.0.1:0"})
	if err := s.Healthz(); err != nil {
		t.Errorf("Healthz of a running server = %v", err)
	}
	s.Shutdown()
	if err := s.Healthz(); err == nil {
		t.Error("Healthz of a stopped server = nil")
	}
}

func TestConnectSaysWhy(t *testing.T) {
	t.Parallel()
	s := startServer(t, ServerOptions{Listen: "127.0.0.1:0"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name string
		o    Options
		want []string
		not  string
	}{
		{"nothing listens", Options{URL: "nats://" + silent}, []string{silent, "nothing answers there", "nats.url"}, ""},
		{"secrets stay secret", Options{URL: "nats://me:hush@" + silent}, []string{silent}, "hush"},
		{"no credentials", Options{URL: s.URL()}, []string{"uthorization", "nats.credentials", "joined"}, ""},
		{"a password", Options{URL: strings.Replace(s.URL(), "nats://", "nats://me:hush@", 1)}, []string{"nats.credentials"}, "hush"},
		{"no credentials file", Options{URL: s.URL(), Credentials: "/nowhere/x.creds"}, []string{"/nowhere/x.creds"}, ""},
		{"no URL", Options{URL: "nats://me:hush@a b:1"}, []string{"unreadable address", "invalid character"}, "hush"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			b, err := Connect(ctx, tt.o)
			if err == nil {
				b.Close()
				t.Fatal("it connected")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("error %q tells a secret", err)
			}
		})
	}
}

func TestConnectWaitsForServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0", Open: true})
	url := first.URL()
	first.Shutdown()

	connected := make(chan error, 1)
	ctx := testContext(t)
	go func() {
		b, err := Connect(ctx, Options{URL: url})
		if err == nil {
			b.Close()
		}
		connected <- err
	}()
	startServer(t, ServerOptions{Dir: dir, Listen: strings.TrimPrefix(url, "nats://"), Open: true})
	if err := <-connected; err != nil {
		t.Error(err)
	}
}

func TestReconnects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0"})
	url := s.URL()
	b := connect(t, Options{URL: url, Credentials: filepath.Join(dir, adminFile)})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	publish(t, b, item(work.Norm, 1, 1))

	s.Shutdown()
	eventually(t, "notice the loss", func() bool { return b.Healthy(testContext(t)) != nil })
	if d, err := b.Take(testContext(t), "s", 1, 100*time.Millisecond); len(d) > 0 || err != nil {
		t.Errorf("Take without a connection = %v, %v, want none and no error", d, err)
	}
	startServer(t, ServerOptions{Dir: dir, Listen: strings.TrimPrefix(url, "nats://")})
	ack(t, take(t, b, 1)...)
	if err := b.Healthy(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestClosedBus(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	set(t, b, 1, work.Running)
	ctx := testContext(t)
	watching := make(chan struct{}, 1)
	ended := make(chan error, 2)
	go func() { ended <- agent.WatchJobs(ctx, func(work.JobID, work.JobControl) { watching <- struct{}{} }) }()
	go func() { ended <- agent.Beats(ctx, func(work.Presence) {}) }()
	<-watching
	agent.Close()
	agent.Close() // may be repeated
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("a watch on a closed Bus = %v, want ErrClosed", err)
		}
	}
	if _, err := agent.Take(ctx, "s", 1, time.Minute); !errors.Is(err, ErrClosed) {
		t.Errorf("Take on a closed Bus = %v, want ErrClosed", err)
	}
	if _, _, err := agent.Results(ctx, 1, time.Minute); !errors.Is(err, ErrClosed) {
		t.Errorf("Results on a closed Bus = %v, want ErrClosed", err)
	}
	if err := agent.Report(ctx, "s", "a", result(1, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Report on a closed Bus = %v, want ErrClosed", err)
	}
	if err := agent.Healthy(ctx); err == nil {
		t.Error("Healthy on a closed Bus = nil")
	}
	if err := b.Healthy(ctx); err != nil {
		t.Error(err)
	}
}
