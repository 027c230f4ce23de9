package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// An Authority signs the credentials of agents and takes them back; in
// production it is a *bus.Authority. It is safe for use by any number of
// goroutines.
type Authority interface {
	// Issue returns what lets the holder of a key in as this agent until it
	// expires. It asks nobody.
	Issue(agent, site, publicKey string, expires time.Time) (jwt string, err error)
	// Revoke shuts the holder of a key out, at once and for good. It may be
	// repeated.
	Revoke(ctx context.Context, publicKey string) error
	// Restore shuts out the holders of all these keys. It may be repeated.
	Restore(ctx context.Context, revoked []string) error
}

// An Admission is how agents join the fleet.
type Admission struct {
	// Authority is nil where agents cannot join; Why says why, to people.
	Authority Authority
	Why       string
	// Directions says where agents find the fleet. It is asked each time, for
	// certificates are replaced.
	Directions func() (Directions, error)
	// Life is how long a credential counts; 0: work.CredentialLife.
	Life time.Duration
}

// Directions are where agents find the fleet and whom they trust there.
type Directions struct {
	Server   string // URL of this coordinator
	ServerCA string // PEM of whom its certificate comes from; empty: the system's
	Pin      string // see api.Invited
	NATS     string // URLs of the queue's servers, comma separated
	CA       string // PEM of whom their certificates come from; empty: the system's
	Domain   string // of JetStream
	Notes    []string
}

// roster is what the API does to agents; it implements web.Roster.
type roster struct{ c *Coordinator }

// open returns how agents join, or why they cannot.
func (r roster) open() (Admission, error) {
	a := r.c.admission
	if a.Authority == nil {
		return a, api.NewProblem(api.NoJoining, a.Why)
	}
	return a, nil
}

// Invite makes an invitation.
func (r roster) Invite(ctx context.Context, n work.NewInvite, dryRun bool) (api.Invited, error) {
	a, err := r.open()
	if err != nil {
		return api.Invited{}, err
	}
	d, err := a.Directions()
	if err != nil {
		return api.Invited{}, fmt.Errorf("say where an agent joins: %w", err)
	}
	out := api.Invited{Server: d.Server, Pin: d.Pin, NATS: d.NATS, Notes: d.Notes}
	if dryRun {
		now := time.Now().UTC()
		out.Invite = work.Invite{Site: n.Site, CreatedAt: now, CreatedBy: n.Who, ExpiresAt: now.Add(n.Life)}
		return out, nil
	}
	out.Token = work.NewSecret(work.SecretInvite)
	if out.Invite, err = r.c.ledger.CreateInvite(ctx, n, work.HashSecret(out.Token)); err != nil {
		return api.Invited{}, err
	}
	r.c.log.InfoContext(ctx, "agent invited", "site", n.Site, "invite", out.Invite.ID, "by", n.Who)
	return out, nil
}

// Invites lists the invitations that may still be used.
func (r roster) Invites(ctx context.Context) ([]work.Invite, error) { return r.c.ledger.Invites(ctx) }

// Uninvite takes an invitation back.
func (r roster) Uninvite(ctx context.Context, id int64, who string) error {
	if err := r.c.ledger.Uninvite(ctx, id, who); err != nil {
		return err
	}
	r.c.log.InfoContext(ctx, "agent uninvited", "invite", id, "by", who)
	return nil
}

// Join lets an agent in.
func (r roster) Join(ctx context.Context, secret string, j work.Joining) (work.Welcome, error) {
	a, err := r.open()
	if err != nil {
		return work.Welcome{}, err
	}
	if !work.IsSecret(work.SecretInvite, secret) {
		return work.Welcome{}, work.ErrNoToken
	}
	if err := bus.CheckKey(j.Key); err != nil {
		return work.Welcome{}, err
	}
	joined, err := r.c.ledger.Join(ctx, work.HashSecret(secret), j)
	if err != nil {
		return work.Welcome{}, err
	}
	r.c.log.InfoContext(ctx, "agent joined", "agent", joined.Agent, "site", joined.Site, "host", joined.Host)
	return a.welcome(joined)
}

// Renew gives an agent that has joined a new credential. Who asks is proven
// before the ledger is asked.
func (r roster) Renew(ctx context.Context, ask work.Renewal) (work.Welcome, error) {
	a, err := r.open()
	if err != nil {
		return work.Welcome{}, err
	}
	if err := bus.Verify(ask.Key, ask.Text(), ask.Signature); err != nil {
		return work.Welcome{}, err
	}
	if time.Since(ask.At).Abs() > work.RenewalSkew {
		return work.Welcome{}, fmt.Errorf("%w: the agent's says %s", work.ErrClock, ask.At.UTC().Format(time.RFC3339))
	}
	of, err := r.c.ledger.Renew(ctx, ask.Key)
	if err != nil {
		return work.Welcome{}, err
	}
	return a.welcome(of)
}

// welcome returns what an agent needs to find the queue.
func (a Admission) welcome(i work.Identity) (work.Welcome, error) {
	d, err := a.Directions()
	if err != nil {
		return work.Welcome{}, fmt.Errorf("say where agent %s finds the queue: %w", i.Agent, err)
	}
	life := a.Life
	if life == 0 {
		life = work.CredentialLife
	}
	w := work.Welcome{Agent: i.Agent, Site: i.Site, NATS: d.NATS, CA: d.CA, Domain: d.Domain, ServerCA: d.ServerCA,
		Expires: time.Now().Add(life).UTC().Truncate(time.Second)}
	if w.JWT, err = a.Authority.Issue(i.Agent, i.Site, i.Key, w.Expires); err != nil {
		return work.Welcome{}, fmt.Errorf("sign the credential of agent %s: %w", i.Agent, err)
	}
	return w, nil
}

// Revoke shuts an agent out. That counts once the ledger has it; a server that
// cannot be told now is told by shutOut, and lets the agent's next connection in
// only as long as the credential that it has.
func (r roster) Revoke(ctx context.Context, site, agent, who string) (work.Identity, error) {
	a, err := r.open()
	if err != nil {
		return work.Identity{}, err
	}
	revoked, err := r.c.ledger.RevokeAgent(ctx, site, agent, who)
	if err != nil {
		return work.Identity{}, err
	}
	r.c.log.InfoContext(ctx, "agent revoked", "agent", agent, "site", site, "by", who)
	wake(r.c.revoked) // whatever becomes of the next line
	err = a.Authority.Revoke(ctx, revoked.Key)
	if errors.Is(err, bus.ErrCannotRevoke) {
		return work.Identity{}, api.NewProblem(api.NotShutOut, fmt.Sprintf(
			"agent %s is revoked and gets no new credential, but it may stay connected until its last one expires: %v", agent, err))
	}
	if err != nil {
		r.c.log.WarnContext(ctx, "agent is revoked but not shut out yet, trying on", "agent", agent, "site", site, "err", err)
		return work.Identity{}, api.NewProblem(api.Unavailable, fmt.Sprintf(
			"agent %s is revoked and gets no new credential, but NATS could not be told to end its connection; that is tried on and on", agent))
	}
	return revoked, nil
}

// Drain asks an agent to finish and go.
func (r roster) Drain(ctx context.Context, site, agent, who string) error {
	if err := r.c.bus.Drain(ctx, site, agent); errors.Is(err, bus.ErrNoAgent) {
		return fmt.Errorf("%w: %w", work.ErrNotThere, err)
	} else if err != nil {
		return err
	}
	r.c.log.InfoContext(ctx, "agent drains", "agent", agent, "site", site, "by", who)
	return r.c.ledger.NoteDrain(ctx, site, agent, who)
}

// shutOutEvery is how soon a coordinator learns of what another has revoked.
const shutOutEvery = 10 * time.Second

// An exclusion is which keys the servers were last told to keep out. Its field
// is owned by the loop that calls shutOut.
type exclusion struct{ told []string }

// shutOut tells the servers all keys that were revoked, at the start and
// whenever there are others: an embedded server forgets them when it ends, and
// Revoke may have failed.
func (c *Coordinator) shutOut(ctx context.Context) error {
	if c.admission.Authority == nil {
		return nil
	}
	keys, err := c.ledger.RevokedKeys(ctx)
	if err != nil {
		return err
	}
	if c.excluded.told != nil && slices.Equal(c.excluded.told, keys) {
		return nil
	}
	err = c.admission.Authority.Restore(ctx, keys)
	if errors.Is(err, bus.ErrCannotRevoke) { // it does not get better by trying
		c.log.WarnContext(ctx, "revoked agents keep what they have until it expires", "agents", len(keys), "err", err)
	} else if err != nil {
		return fmt.Errorf("shut out %d revoked agents: %w", len(keys), err)
	}
	c.excluded.told = keys
	return nil
}
