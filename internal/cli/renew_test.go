package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// A host is a coordinator whose agents' credentials are short-lived.
type host struct {
	server *httptest.Server
	client *api.Client // of an operator
	away   atomic.Bool // it answers nobody
}

func newHost(t *testing.T, life time.Duration) *host {
	t.Helper()
	queue, err := bus.StartServer(t.Context(), bus.ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxStore: 2 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(queue.Shutdown)
	b, err := bus.Connect(t.Context(), bus.Options{Server: queue, Name: "coordinator"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	h := &host{}
	c := coordinator.New(config.Default().Coordinator, coordinator.Deps{
		Ledger: ledgertest.New(t), Bus: b, HTTP: config.HTTP{Open: true},
		Admission: coordinator.Admission{Authority: queue.Authority(), Life: life,
			Directions: func() (coordinator.Directions, error) {
				return coordinator.Directions{Server: h.server.URL, NATS: queue.URL(), Domain: "hub"}, nil
			}},
	})
	handler := c.Handler()
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.away.Load() {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(h.server.Close)
	h.client = api.NewClient(h.server.URL, nil, "")
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return h
}

// join makes an agent join and returns its data folder.
func (h *host) join(t *testing.T, name string) string {
	t.Helper()
	invited, err := h.client.Invite(t.Context(), "west", time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	newWorld(t).wantStatus(t, ExitOK, "fleet", "join", "--server", h.server.URL, "--token", invited.Token, "--name", name, "--data", dir)
	return dir
}

func keeperIn(t *testing.T, dir string) *keeper {
	t.Helper()
	k, err := keeperOf(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil || k == nil {
		t.Fatalf("keeperOf = %v, %v", k, err)
	}
	return k
}

// until waits for something that is to come about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came about: %s", what)
		}
	}
}

// TestKeeper: an agent's credential is renewed before it expires. While the
// coordinator is away it expires, and the queue shuts the agent out; once the
// coordinator is back, so is the agent. Revoked, it ends.
func TestKeeper(t *testing.T) {
	t.Parallel()
	h := newHost(t, 2*time.Second)
	dir := h.join(t, "west-1")
	k := keeperIn(t, dir)
	if err := k.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Connect(t.Context(), k.options(config.Default()))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	k.healthy = b.Healthy
	ended := make(chan error, 1)
	go func() { ended <- k.run(t.Context()) }()

	first := k.identity()
	until(t, "it lives on after its first credential", func() bool {
		return time.Now().After(first.Welcome.Expires.Add(time.Second)) && b.Healthy(t.Context()) == nil
	})
	if kept := keeperIn(t, dir).identity(); kept.Welcome.JWT == first.Welcome.JWT || kept.Seed != first.Seed {
		t.Error("the new credential is not kept in the file, or not the old key")
	}

	h.away.Store(true)
	until(t, "it is shut out once its credential has expired", func() bool {
		return time.Now().After(k.identity().Welcome.Expires) && b.Healthy(t.Context()) != nil
	})
	h.away.Store(false)
	until(t, "it is let in again", func() bool { return b.Healthy(t.Context()) == nil })

	if _, err := h.client.RevokeAgent(t.Context(), "west", "west-1"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; status(err) != ExitDenied || !errors.Is(err, errShutOut) {
		t.Errorf("the keeper of an agent that was revoked ends with %v", err)
	}
	if err := keeperIn(t, dir).begin(t.Context()); status(err) != ExitDenied {
		t.Errorf("an agent that was revoked begins with %v", err)
	}
}

// TestKeeperIsShutOut: an agent whose credential is good for long learns from the
// queue that it was revoked, and asks.
func TestKeeperIsShutOut(t *testing.T) {
	t.Parallel()
	h := newHost(t, 24*time.Hour)
	k := keeperIn(t, h.join(t, "west-1"))
	b, err := bus.Connect(t.Context(), k.options(config.Default()))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	k.healthy = b.Healthy
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	if _, err := h.client.RevokeAgent(t.Context(), "west", "west-1"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; status(err) != ExitDenied {
		t.Errorf("the keeper of an agent that was revoked ends with %v", err)
	}
}

// TestKeeperBegins: a start needs the coordinator only if there is no other way.
func TestKeeperBegins(t *testing.T) {
	t.Parallel()
	h := newHost(t, time.Hour)
	dir := h.join(t, "west-1")
	h.away.Store(true)
	if err := keeperIn(t, dir).begin(t.Context()); err != nil {
		t.Errorf("begin with a credential that counts: %v", err)
	}
	k := keeperIn(t, dir)
	k.id.Welcome.Expires = time.Now().Add(-time.Minute)
	begun := make(chan error, 1)
	go func() { begun <- k.begin(t.Context()) }()
	select {
	case err := <-begun:
		t.Fatalf("begin with a credential that has expired, and nobody to ask: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	h.away.Store(false)
	if err := <-begun; err != nil || !k.identity().Welcome.Expires.After(time.Now()) {
		t.Errorf("begin once the coordinator is there: %v, the credential expires %v", err, k.identity().Welcome.Expires)
	}
}

// TestRenewalsAreProven: a new credential is for the owner of a key that has
// joined, who asks now.
func TestRenewalsAreProven(t *testing.T) {
	t.Parallel()
	h := newHost(t, time.Hour)
	id := keeperIn(t, h.join(t, "west-1")).identity()
	otherSeed, otherKey, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		seed, key string
		at        time.Duration
		want      api.Code
	}{
		{"as it should be", id.Seed, id.Key, 0, ""},
		{"a clock that is a little wrong", id.Seed, id.Key, -4 * time.Minute, ""},
		{"a clock that is fast", id.Seed, id.Key, 6 * time.Minute, api.ClockSkew},
		{"a clock that is slow, or a replay", id.Seed, id.Key, -6 * time.Minute, api.ClockSkew},
		{"signed by another", otherSeed, id.Key, 0, api.NoIdentity},
		{"another who has not joined", otherSeed, otherKey, 0, api.NoIdentity},
		{"no key", id.Seed, "U", 0, api.NoIdentity},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := work.Renewal{Key: tt.key, At: time.Now().Add(tt.at)}
			if r.Signature, err = bus.Sign(tt.seed, r.Text()); err != nil {
				t.Fatal(err)
			}
			w, err := h.client.Renew(t.Context(), r)
			var p *api.Problem
			errors.As(err, &p)
			switch {
			case tt.want == "" && (err != nil || w.Agent != "west-1" || w.Site != "west" || w.JWT == ""):
				t.Errorf("Renew = %+v, %v", w, err)
			case tt.want != "" && (p == nil || p.Code != tt.want):
				t.Errorf("Renew = %v, want %s", err, tt.want)
			}
		})
	}
	r := work.Renewal{Key: id.Key, At: time.Now()}
	if r.Signature, err = bus.Sign(id.Seed, r.Text()); err != nil {
		t.Fatal(err)
	}
	r.At = r.At.Add(time.Second)
	if _, err := h.client.Renew(t.Context(), r); err == nil {
		t.Error("a signature counts at another time than it was made for")
	}
}

// TestRenewAt: agents that joined at once do not renew at once.
func TestRenewAt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	least, most := 24*time.Hour, time.Duration(0)
	for range 200 {
		at := identity{}.with(work.Welcome{Expires: now.Add(24 * time.Hour)}, now).RenewAt.Sub(now)
		least, most = min(least, at), max(most, at)
	}
	if least < 9*time.Hour+35*time.Minute || most > 14*time.Hour+25*time.Minute || most-least < 3*time.Hour {
		t.Errorf("renewals of a day's credential are spread over %v to %v, want about 9.6h to 14.4h", least, most)
	}
	if at := (identity{}.with(work.Welcome{Expires: now.Add(-time.Hour)}, now).RenewAt); at.After(now.Add(time.Second)) {
		t.Errorf("one that has expired is renewed at %v, want at once", at)
	}
}

// TestAgentBehindALeafNode: an agent that has joined connects where its own
// configuration says, and trusts whom that names.
func TestAgentBehindALeafNode(t *testing.T) {
	t.Parallel()
	h := newHost(t, time.Minute)
	k := keeperIn(t, h.join(t, "west-1"))
	cfg := config.Default()
	if got, want := k.options(cfg).URL, k.identity().Welcome.NATS; got != want || want == "" {
		t.Errorf("without nats.url it connects to %q, want %q", got, want)
	}
	cfg.NATS.URL, cfg.NATS.TLS.CA = config.NewSecret("nats://leaf:4222"), "leaf-ca.pem"
	if o := k.options(cfg); o.URL != "nats://leaf:4222" || o.TLS.CA != "leaf-ca.pem" {
		t.Errorf("with nats.url it connects to %q and trusts %q", o.URL, o.TLS.CA)
	}
}
