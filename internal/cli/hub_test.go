package cli

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// TestRevokedAgentIsOutBeforeTheFirstRound: an agent that was revoked does not
// get in again between the start of the queue and the first round of the
// coordinator's work, which here never comes.
func TestRevokedAgentIsOutBeforeTheFirstRound(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data, cfg.Postgres.URL = t.TempDir(), config.NewSecret(ledgertest.EmptyURL(t))
	cfg.HTTP.Listen, cfg.NATS.Listen = "127.0.0.1:0", freeAddress(t)
	start := func() *hub {
		t.Helper()
		h, err := startHub(t.Context(), cfg, slog.New(slog.DiscardHandler), "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.close)
		return h
	}
	h := start()
	seed, key, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	invite := work.NewSecret(work.SecretInvite)
	if _, err := h.ledger.CreateInvite(t.Context(), work.NewInvite{Site: "west", Life: time.Hour}, work.HashSecret(invite)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ledger.Join(t.Context(), work.HashSecret(invite), work.Joining{Agent: "bad", Key: key}); err != nil {
		t.Fatal(err)
	}
	credential, err := h.authority.Issue("bad", "west", key, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	o := bus.Options{URL: h.server.URL(), Name: "bad", Seed: seed, JWT: func() (string, error) { return credential, nil }}
	knock := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b, err := bus.Connect(ctx, o)
		if err == nil {
			b.Close()
		}
		return err
	}
	if err := knock(); err != nil {
		t.Fatalf("before it is revoked: %v", err)
	}
	if _, err := h.ledger.RevokeAgent(t.Context(), "west", "bad", "ada"); err != nil {
		t.Fatal(err)
	}
	h.close()
	start()
	if knock() == nil {
		t.Error("it got in")
	}
}

// A port of the queue that is in use is found before anything is started.
func TestPortInUseStartsNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config.Default()
	cfg.Data, cfg.HTTP.Listen, cfg.NATS.Listen = t.TempDir(), "127.0.0.1:0", l.Addr().String()
	h, err := startHub(t.Context(), cfg, slog.New(slog.DiscardHandler), "test")
	if err == nil {
		h.close()
		t.Fatal("it started")
	}
	if _, serr := os.Stat(filepath.Join(cfg.Data, "postgres")); !os.IsNotExist(serr) || status(err) != ExitFailed {
		t.Errorf("it ended with %v, and of a private Postgres there is %v, want %v", err, serr, fs.ErrNotExist)
	}
}
