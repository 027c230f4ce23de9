package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tranship/tranship/internal/bus"
)

// startQueue runs a NATS server here unless there is one elsewhere, and
// connects.
func (h *hub) startQueue(ctx context.Context) error {
	n := h.cfg.NATS
	o := bus.Options{
		URL: n.URL.Reveal(), Name: "coordinator", Credentials: n.Credentials, TLS: bus.TLS(n.TLS),
		Domain: n.Domain, Replicas: n.Replicas, AckWait: time.Duration(n.AckWait), Log: h.log,
	}
	if n.URL.IsZero() {
		if err := h.startServer(ctx); err != nil {
			return err
		}
		o.Server, h.authority = h.server, h.server.Authority()
	} else if err := h.openAuthority(); err != nil {
		return err
	}
	b, err := connect(ctx, o)
	if err != nil {
		return err
	}
	h.bus = b
	h.onClose(b.Close)
	// The coordinator would do so as well, but wait in silence if it cannot.
	if err := b.Setup(ctx); err != nil {
		return fail(ExitFailed, fmt.Errorf("NATS: %w", err), "")
	}
	return nil
}

// openAuthority readies what signs agents' credentials for servers elsewhere,
// if the configuration has the keys.
func (h *hub) openAuthority() (err error) {
	n := h.cfg.NATS
	if n.Account == "" {
		return nil
	}
	h.authority, err = bus.OpenAuthority(bus.AuthorityOptions{
		Account: n.Account, SigningKey: n.SigningKey.Reveal(), URL: n.URL.Reveal(),
		SystemCredentials: n.SystemCredentials, OperatorKey: n.OperatorKey.Reveal(), TLS: bus.TLS(n.TLS), Log: h.log,
	})
	if err != nil {
		return fail(ExitUsage, fmt.Errorf("keys of NATS: %w", err), "nats.account, nats.signing_key and nats.operator_key are what tranship fleet keys wrote")
	}
	return nil
}

// serverOptions says how the NATS server here is to run.
func (h *hub) serverOptions() bus.ServerOptions {
	n := h.cfg.NATS
	return bus.ServerOptions{
		Dir: filepath.Join(h.cfg.Data, "nats"), Listen: n.Listen, Open: n.Auth == "open", TLS: bus.TLS(n.TLS),
		Domain: n.Domain, MaxStore: int64(n.MaxStore), Log: h.log,
	}
}

// checkQueue returns why a NATS server here could not start, before anything
// that takes time. Nobody can connect yet.
func (h *hub) checkQueue(ctx context.Context) error {
	if !h.cfg.NATS.URL.IsZero() {
		return nil
	}
	return serverError(h.serverOptions().Check(ctx))
}

// startServer runs a NATS server here. Whoever the ledger calls revoked is kept
// out from its first moment on.
func (h *hub) startServer(ctx context.Context) (err error) {
	o := h.serverOptions()
	if o.Listen == "" {
		// Nobody but this process has anything of the queue in hand. What its
		// predecessor had would wait for its time there, so the queue begins
		// empty and the ledger fills it. The keys beside it are those of the
		// fleet that runs on this folder at other times.
		if err := os.RemoveAll(filepath.Join(o.Dir, "jetstream")); err != nil {
			return fmt.Errorf("empty the queue: %w", err)
		}
	}
	if o.Revoked, err = h.ledger.RevokedKeys(ctx); err != nil {
		return ledgerError(err)
	}
	s, err := bus.StartServer(ctx, o)
	if err != nil {
		return serverError(err)
	}
	h.server = s
	h.onClose(s.Shutdown)
	return nil
}

// serverError says what to set if a NATS server cannot run here.
func serverError(err error) error {
	if err == nil {
		return nil
	}
	return fail(ExitFailed, fmt.Errorf("embedded NATS: %w", err), "TRANSHIP_NATS_LISTEN sets nats.listen, TRANSHIP_NATS_URL uses a server that runs already")
}

// connect connects to the queue and says what to look at if that fails.
func connect(ctx context.Context, o bus.Options) (*bus.Bus, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	b, err := bus.Connect(ctx, o)
	if err != nil {
		return nil, fail(ExitUnreachable, fmt.Errorf("cannot reach NATS: %w", err),
			"is the coordinator or the NATS server running, and are nats.url (TRANSHIP_NATS_URL) and the credentials right?")
	}
	return b, nil
}
