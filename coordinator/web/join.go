package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A Roster is who belongs to the fleet: it lets agents in and shuts them out.
type Roster interface {
	// Invite makes an invitation, or says what it would be.
	Invite(ctx context.Context, n work.NewInvite, dryRun bool) (api.Invited, error)
	// Invites lists the invitations that may still be used.
	Invites(ctx context.Context) ([]work.Invite, error)
	// Uninvite takes one back. One that cannot be used is work.ErrNotThere.
	Uninvite(ctx context.Context, id int64, who string) error
	// Join lets the agent in that shows an invitation's secret; asked again by
	// the same agent it answers again. It returns work.ErrNoToken,
	// work.ErrNameTaken or work.ErrKeyTaken of one that cannot join.
	Join(ctx context.Context, secret string, j work.Joining) (work.Welcome, error)
	// Renew answers like Join an agent that has joined. It returns
	// work.ErrSignature, work.ErrClock or work.ErrNoIdentity of any other.
	Renew(ctx context.Context, r work.Renewal) (work.Welcome, error)
	// Revoke shuts an agent out. One that has no identity is work.ErrNotThere.
	Revoke(ctx context.Context, site, agent, who string) (work.Identity, error)
	// Drain asks an agent to finish and go. One that does not hear it is
	// work.ErrNotThere.
	Drain(ctx context.Context, site, agent, who string) error
}

var inviteFields = fields{"site": nil, "seconds": nil, "dry_run": nil}

func (s *site) createInvite(w http.ResponseWriter, r *http.Request) error {
	var in api.NewInvite
	var f findings
	if err := readBody(r, &in, false, inviteFields, &f); err != nil {
		return err
	}
	n := inviteOf(in, &f)
	n.Who = readWho(r, &f)
	if err := f.err(); err != nil {
		return err
	}
	out, err := s.Roster.Invite(r.Context(), n, in.DryRun)
	if err != nil {
		return err
	}
	writeJSON(w, "application/json", http.StatusCreated, out)
	return nil
}

// inviteOf returns the invitation that is asked for and notes what is wrong with
// it.
func inviteOf(in api.NewInvite, f *findings) work.NewInvite {
	if err := work.CheckSite(in.Site); err != nil {
		f.body("/site", "%v", err)
	}
	n := work.NewInvite{Site: in.Site, Life: work.InviteLife}
	if in.Seconds != 0 {
		least, most := int64(work.LeastInvite/time.Second), int64(work.MostInvite/time.Second)
		if in.Seconds < least || in.Seconds > most {
			f.body("/seconds", "must be a number from %d to %d", least, most)
		}
		n.Life = time.Duration(in.Seconds) * time.Second
	}
	return n
}

func (s *site) listInvites(w http.ResponseWriter, r *http.Request) error {
	if err := readParams(r).err(); err != nil {
		return err
	}
	invites, err := s.Roster.Invites(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, api.InviteList{Invites: notNil(invites)})
}

func (s *site) revokeInvite(w http.ResponseWriter, r *http.Request) error {
	var f findings
	who := readWho(r, &f)
	if err := f.err(); err != nil {
		return err
	}
	if err := s.uninvite(r, who); err != nil {
		return err
	}
	return answerJSON(w, struct{}{})
}

// uninvite takes the invitation back that the address names.
func (s *site) uninvite(r *http.Request, who string) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return api.NewProblem(api.NoInvite, "")
	}
	err = s.Roster.Uninvite(r.Context(), id, who)
	if errors.Is(err, work.ErrNotThere) {
		return api.NewProblem(api.NoInvite, "")
	}
	return err
}

var joinFields = fields{"token": nil, "agent": nil, "host": nil, "key": nil}

// maxHost bounds the name of a machine.
const maxHost = 255

func (s *site) join(w http.ResponseWriter, r *http.Request) error {
	var in api.Joining
	var f findings
	if err := readBody(r, &in, false, joinFields, &f); err != nil {
		return err
	}
	if err := work.CheckAgent(in.Agent); err != nil {
		f.body("/agent", "%v", err)
	}
	if why := checkLine(in.Host, maxHost); why != "" {
		f.body("/host", "%s", why)
	}
	if err := f.err(); err != nil {
		return err
	}
	return s.knock(w, r, func(ctx context.Context) (work.Welcome, error) {
		return s.Roster.Join(ctx, in.Token, in.Joining)
	})
}

var renewFields = fields{"key": nil, "at": nil, "signature": nil}

func (s *site) renew(w http.ResponseWriter, r *http.Request) error {
	var in work.Renewal
	var f findings
	if err := readBody(r, &in, false, renewFields, &f); err != nil {
		return err
	}
	return s.knock(w, r, func(ctx context.Context) (work.Welcome, error) { return s.Roster.Renew(ctx, in) })
}

// knock answers somebody who shows no token and wants in. Who cannot be let in
// may not try on and on, and is not told why.
func (s *site) knock(w http.ResponseWriter, r *http.Request, ask func(context.Context) (work.Welcome, error)) error {
	var welcome work.Welcome
	err := s.turns.ask(r.Context(), func() (err error) {
		welcome, err = ask(r.Context())
		return err
	})
	if err == nil {
		return answerJSON(w, welcome)
	}
	p := s.notLetIn(err)
	if p == nil {
		return err
	}
	if p.Status == http.StatusForbidden {
		if tooMany := s.wrong(r, err); tooMany != nil {
			return tooMany
		}
	}
	return p
}

// notLetIn returns what whoever knocked may know of why they cannot come in;
// nil if that is not their fault.
func (s *site) notLetIn(err error) *api.Problem {
	switch {
	case errors.Is(err, work.ErrNoToken):
		return api.NewProblem(api.NoInvitation, "")
	case errors.Is(err, work.ErrSignature), errors.Is(err, work.ErrNoIdentity):
		return api.NewProblem(api.NoIdentity, "")
	case errors.Is(err, work.ErrClock):
		return api.NewProblem(api.ClockSkew, "it is "+s.now().UTC().Format(time.RFC3339)+" here")
	case errors.Is(err, work.ErrKeyTaken):
		return api.NewProblem(api.KeyTaken, "")
	case errors.Is(err, work.ErrNameTaken):
		p := api.NewProblem(api.NameTaken, "another agent has this name")
		p.Hint = "Choose another with --name, and a folder of its own with --data if both are on one machine. Or, if that agent is gone, " +
			"revoke it with tranship fleet revoke; the name of one that never joined is free a minute after it stopped. The invitation may still be used."
		return p
	}
	return nil
}

func (s *site) revokeAgent(w http.ResponseWriter, r *http.Request) error {
	var f findings
	who := readWho(r, &f)
	if err := f.err(); err != nil {
		return err
	}
	revoked, err := s.shutOut(r, who)
	if err != nil {
		return err
	}
	return answerJSON(w, revoked)
}

// shutOut revokes the agent that the address names.
func (s *site) shutOut(r *http.Request, who string) (work.Identity, error) {
	site, agent, err := readAgent(r)
	if err != nil {
		return work.Identity{}, err
	}
	revoked, err := s.Roster.Revoke(r.Context(), site, agent, who)
	if errors.Is(err, work.ErrNotThere) {
		return work.Identity{}, api.NewProblem(api.NoAgent, "no agent "+agent+" has joined "+site)
	}
	return revoked, err
}

func (s *site) drainAgent(w http.ResponseWriter, r *http.Request) error {
	var f findings
	who := readWho(r, &f)
	if err := f.err(); err != nil {
		return err
	}
	if err := s.drain(r, who); err != nil {
		return err
	}
	return answerJSON(w, struct{}{})
}

// drain asks the agent that the address names to finish and go.
func (s *site) drain(r *http.Request, who string) error {
	site, agent, err := readAgent(r)
	if err != nil {
		return err
	}
	err = s.Roster.Drain(r.Context(), site, agent, who)
	if errors.Is(err, work.ErrNotThere) {
		return api.NewProblem(api.NoAgent, "no agent "+agent+" answers at "+site)
	}
	return err
}

// readAgent returns the agent that the address names.
func readAgent(r *http.Request) (site, agent string, err error) {
	site, agent = r.PathValue("site"), r.PathValue("agent")
	if errors.Join(work.CheckName("site", site), work.CheckName("agent", agent)) != nil {
		return "", "", api.NewProblem(api.NoAgent, "")
	}
	return site, agent, nil
}
