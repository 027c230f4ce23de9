package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// A harbour is a ledger and a queue that lets in who has an identity.
type harbour struct {
	bundle
	dir    string
	broken atomic.Pointer[error] // what telling the servers fails with
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	h := &harbour{dir: t.TempDir(), bundle: bundle{t: t, ackWait: ackWait}}
	h.restore(ledgertest.URL(t))
	h.startQueue()
	return h
}

func (h *harbour) startQueue() {
	h.t.Helper()
	server, err := bus.StartServer(h.t.Context(), bus.ServerOptions{Dir: h.dir, Listen: "127.0.0.1:0", MaxStore: 2 << 30})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(server.Shutdown)
	h.server = server
}

// A shaky is an Authority that may not reach the servers.
type shaky struct {
	Authority
	h *harbour
}

func (s shaky) Revoke(ctx context.Context, key string) error {
	if err := s.h.broken.Load(); err != nil {
		return *err
	}
	return s.Authority.Revoke(ctx, key)
}

func (s shaky) Restore(ctx context.Context, keys []string) error {
	if err := s.h.broken.Load(); err != nil {
		return *err
	}
	return s.Authority.Restore(ctx, keys)
}

// roster returns that of a new coordinator, which runs.
func (h *harbour) roster(name string) roster {
	h.t.Helper()
	r := h.idle(name)
	h.run(name, r.c.Run)
	return r
}

// idle returns that of one which does not.
func (h *harbour) idle(name string) roster {
	h.t.Helper()
	server := h.server
	c := New(config.Default().Coordinator, Deps{
		Ledger: h.ledger, Bus: h.connect("coordinator"), Log: h.log(name), Version: "test",
		Admission: Admission{Authority: shaky{server.Authority(), h}, Directions: func() (Directions, error) {
			return Directions{Server: "https://hub", NATS: server.URL(), Domain: "hub"}, nil
		}},
	})
	return roster{c}
}

// A newcomer is an agent that has joined.
type newcomer struct {
	work.Welcome
	key, seed string
}

func (h *harbour) join(r roster, name string) newcomer {
	h.t.Helper()
	invited, err := r.Invite(h.t.Context(), work.NewInvite{Site: "west", Life: time.Hour, Who: "ada"}, false)
	if err != nil {
		h.t.Fatal(err)
	}
	n := newcomer{}
	if n.seed, n.key, err = bus.NewKey(); err == nil {
		n.Welcome, err = r.Join(h.t.Context(), invited.Token, work.Joining{Agent: name, Host: "h", Key: n.key})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// enter connects as a newcomer.
func (h *harbour) enter(n newcomer) (*bus.Bus, error) {
	h.t.Helper()
	return bus.Connect(h.t.Context(), bus.Options{URL: h.server.URL(), Name: n.Agent, Seed: n.seed,
		JWT: func() (string, error) { return n.JWT, nil }})
}

func (h *harbour) mustEnter(n newcomer) *bus.Bus {
	h.t.Helper()
	b, err := h.enter(n)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(b.Close)
	return b
}

// shut waits until a connection is ended and a new one refused.
func (h *harbour) shut(n newcomer, b *bus.Bus) {
	h.t.Helper()
	h.until("the agent is shut out", func() bool { return b.Healthy(h.t.Context()) != nil })
	if again, err := h.enter(n); err == nil {
		again.Close()
		h.t.Error("an agent that was revoked is let in")
	}
}

// TestRevokedStaysOut: what an agent was given before it was revoked counts no
// more, also with a server that has forgotten of it in a restart.
func TestRevokedStaysOut(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	r := h.roster("c1")
	bad, good := h.join(r, "bad"), h.join(r, "good")
	inside, fine := h.mustEnter(bad), h.mustEnter(good)
	if _, err := r.Revoke(t.Context(), "west", "bad", "ada"); err != nil {
		t.Fatal(err)
	}
	h.shut(bad, inside)
	if err := fine.Healthy(t.Context()); err != nil {
		t.Errorf("another agent is shut out, too: %v", err)
	}

	h.server.Shutdown()
	h.startQueue()
	inside = h.mustEnter(bad) // before there is a coordinator
	h.roster("c2")
	h.shut(bad, inside)
	h.mustEnter(good)
}

// TestRevokeIsTriedOn: an agent is revoked once the ledger has it, and shut out
// once the servers can be told.
func TestRevokeIsTriedOn(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	r := h.roster("c1")
	n := h.join(r, "bad")
	b := h.mustEnter(n)
	broken := errors.New("no server answers")
	h.broken.Store(&broken)
	_, err := r.Revoke(t.Context(), "west", "bad", "ada")
	wantCode(t, err, api.Unavailable)
	if _, err := h.ledger.Renew(t.Context(), n.key); !errors.Is(err, work.ErrNoIdentity) {
		t.Errorf("a revoked agent renews: %v", err)
	}
	if err := b.Healthy(t.Context()); err != nil {
		t.Fatalf("nobody told the servers, and yet: %v", err)
	}
	h.broken.Store(nil)
	h.shut(n, b)
}

// TestRevokeWithoutSystem: where the servers cannot be told at all, that is said,
// and is no trouble that lasts.
func TestRevokeWithoutSystem(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	r := h.idle("c1")
	h.join(r, "bad")
	cannot := fmt.Errorf("revoke: %w: nats.system_credentials is not set", bus.ErrCannotRevoke)
	h.broken.Store(&cannot)
	_, err := r.Revoke(t.Context(), "west", "bad", "ada")
	wantCode(t, err, api.NotShutOut)
	if err := r.c.shutOut(t.Context()); err != nil {
		t.Errorf("shutOut = %v, want it to be told of once", err)
	}
}

// TestNoJoining: where agents cannot join, whoever asks is told why.
func TestNoJoining(t *testing.T) {
	t.Parallel()
	r := roster{New(config.Default().Coordinator, Deps{Admission: Admission{Why: "nats.auth is open"}})}
	_, err := r.Invite(t.Context(), work.NewInvite{Site: "west"}, true)
	wantCode(t, err, api.NoJoining)
	_, err = r.Join(t.Context(), "", work.Joining{})
	wantCode(t, err, api.NoJoining)
	_, err = r.Renew(t.Context(), work.Renewal{})
	wantCode(t, err, api.NoJoining)
	_, err = r.Revoke(t.Context(), "west", "a", "ada")
	wantCode(t, err, api.NoJoining)
}

func wantCode(t *testing.T, err error, want api.Code) {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestStrangersAskNoLedger: what is misspelt, signed by another, or was signed
// long ago is refused before the ledger is asked, which there is none of here.
func TestStrangersAskNoLedger(t *testing.T) {
	t.Parallel()
	r := roster{New(config.Default().Coordinator, Deps{Admission: Admission{Authority: shaky{}}})}
	seed, key, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	signed := func(at time.Time) work.Renewal {
		ask := work.Renewal{Key: key, At: at}
		if ask.Signature, err = bus.Sign(seed, ask.Text()); err != nil {
			t.Fatal(err)
		}
		return ask
	}
	moved := signed(time.Now())
	moved.At = moved.At.Add(time.Second)
	join := func(secret, key string) error {
		_, err := r.Join(t.Context(), secret, work.Joining{Agent: "a", Host: "h", Key: key})
		return err
	}
	renew := func(ask work.Renewal) error {
		_, err := r.Renew(t.Context(), ask)
		return err
	}
	for what, tt := range map[string]struct{ got, want error }{
		"a misspelt invitation":   {join(work.NewSecret(work.SecretInvite)+"x", key), work.ErrNoToken},
		"a token to join with":    {join(work.NewSecret(work.SecretToken), key), work.ErrNoToken},
		"no key to join with":     {join(work.NewSecret(work.SecretInvite), "U"), work.ErrSignature},
		"another's signature":     {renew(moved), work.ErrSignature},
		"no signature":            {renew(work.Renewal{Key: key, At: time.Now()}), work.ErrSignature},
		"a signature of long ago": {renew(signed(time.Now().Add(-time.Hour))), work.ErrClock},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", what, tt.got, tt.want)
		}
	}
}
