package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// rights say which buttons there are for whoever looks. What the buttons do is
// allowed by their routes, not by this.
type rights struct{ Operate, Admin bool }

func rightsOf(r *http.Request) rights {
	scope := work.CallerOf(r.Context()).Scope
	return rights{scope.Allows(work.ScopeOperate), scope.Allows(work.ScopeAdmin)}
}

// presser returns who presses a button.
func presser(r *http.Request) string { return work.CallerOf(r.Context()).Name }

// pressed shows the page that a button is on, as it is now.
func pressed(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// readForm reads the form, which may hold these fields, once each.
func readForm(r *http.Request, known ...string) (*params, error) {
	if err := r.ParseForm(); err != nil {
		return nil, api.NewProblem(api.BadRequest, "the form cannot be read")
	}
	p := &params{values: r.PostForm}
	for name, v := range r.PostForm {
		if len(v) > 1 || !slices.Contains(known, name) {
			p.parameter(clip(name), "is not expected in this form, or not so often")
		}
	}
	return p, nil
}

// A toldView is the answer to a button that has something to say, this once.
type toldView struct {
	Title  string
	Bad    bool
	Text   string
	Secret string   // shown this once; empty: there is none
	Run    string   // a command, shown this once; empty: there is none
	Notes  []string // for people
	CLI    string   // that does the same
	Back   string   // the part of the settings that it is about
}

func (s *site) tell(w http.ResponseWriter, r *http.Request, v toldView) error {
	return s.render(w, r, http.StatusOK, "told.html", view{Title: v.Title, Nav: "settings", Page: v})
}

// pressCreateToken makes a token and shows its secret.
func (s *site) pressCreateToken(w http.ResponseWriter, r *http.Request) error {
	p, err := readForm(r, "name", "scope", "days")
	if err != nil {
		return err
	}
	days := p.number("days", int64(tokenLife/(24*time.Hour)), 0, int64(maxTokenAge/(24*time.Hour)))
	in := api.NewToken{Name: strings.TrimSpace(p.text("name")), Scope: work.Scope(p.text("scope")), ExpiresIn: new(days * 24 * 60 * 60)}
	life := checkToken(in, &p.findings)
	if err := p.err(); err != nil {
		return err
	}
	made, err := s.makeToken(r.Context(), in, life, presser(r))
	if err != nil {
		return err
	}
	until, expires := "for ever", "never"
	if days > 0 {
		until, expires = "until "+when(made.Token.ExpiresAt, s.now()).Stamp, strconv.FormatInt(days, 10)+"d"
	}
	return s.tell(w, r, toldView{Title: "Token " + in.Name, Secret: made.Secret, Back: "tokens",
		Text: fmt.Sprintf("Whoever shows it may %s, %s. Keep it now: it is not shown again, and nobody here knows it.", in.Scope, until),
		CLI:  cli("tranship token create "+in.Name, "--scope", string(in.Scope), "--expires", expires)})
}

func (s *site) pressRevokeToken(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.endToken(r, presser(r)); err != nil {
		return err
	}
	return pressed(w, r, "/settings#tokens")
}

// pressInvite makes an invitation and shows the command that it is.
func (s *site) pressInvite(w http.ResponseWriter, r *http.Request) error {
	p, err := readForm(r, "site", "hours")
	if err != nil {
		return err
	}
	hours := p.number("hours", 1, 1, int64(work.MostInvite/time.Hour))
	n := inviteOf(api.NewInvite{Site: strings.TrimSpace(p.text("site")), Seconds: hours * 60 * 60}, &p.findings)
	if err := p.err(); err != nil {
		return err
	}
	n.Who = presser(r)
	made, err := s.Roster.Invite(r.Context(), n, false)
	if err != nil {
		return err
	}
	return s.tell(w, r, toldView{Title: "Invitation to " + n.Site, Run: shellWords(made.Command()), Notes: made.Notes, Back: "invites",
		Text: fmt.Sprintf("Run this on the agent's machine before %s. It works once, and is not shown again.", when(made.Invite.ExpiresAt, s.now()).Stamp),
		CLI:  fmt.Sprintf("tranship fleet invite --site %s --expires %dh", shellQuote(n.Site), hours)})
}

func (s *site) pressUninvite(w http.ResponseWriter, r *http.Request) error {
	if err := s.uninvite(r, presser(r)); err != nil {
		return err
	}
	return pressed(w, r, "/settings#invites")
}

// pressSetLimit makes a limit or replaces it.
func (s *site) pressSetLimit(w http.ResponseWriter, r *http.Request) error {
	p, err := readForm(r, "scope", "name", "bytes", "requests", "windows")
	if err != nil {
		return err
	}
	in := api.NewLimit{Scope: work.LimitScope(p.text("scope")), Name: strings.TrimSpace(p.text("name")),
		Rate: work.Rate{Bytes: p.size("bytes"), Requests: p.decimal("requests")}, Windows: p.windows("windows")}
	if err := p.err(); err != nil {
		return err
	}
	if _, _, err := s.changeLimit(r.Context(), in, presser(r)); err != nil {
		return err
	}
	s.bounds.forget()
	return pressed(w, r, "/settings#limits")
}

func (p *params) size(name string) int64 {
	raw := strings.TrimSpace(p.text(name))
	if raw == "" {
		return 0
	}
	n, err := work.ParseSize(raw)
	if err != nil {
		p.parameter(name, "%s", err)
	}
	return n
}

func (p *params) decimal(name string) float64 {
	raw := strings.TrimSpace(p.text(name))
	if raw == "" {
		return 0
	}
	n, err := strconv.ParseFloat(raw, 64)
	if err != nil {
		p.parameter(name, "%q is not a number", clip(raw))
	}
	return n
}

// windows reads the windows of a limit, one a line.
func (p *params) windows(name string) (windows []work.Window) {
	for line := range strings.Lines(p.text(name)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		w, err := work.ParseWindow(line)
		if err != nil {
			p.parameter(name, "%q: %s; write for example mon-fri 08:00-18:00 Europe/Berlin 20MiB", clip(line), err)
		}
		windows = append(windows, w)
	}
	return windows
}

func (s *site) pressRemoveLimit(w http.ResponseWriter, r *http.Request) error {
	p, err := readForm(r, "scope", "name")
	if err != nil {
		return err
	}
	scope := oneOf(p, "scope", work.LimitStore, work.LimitSite, work.LimitJob)
	if err := p.err(); err != nil {
		return err
	}
	if _, err := s.dropLimit(r.Context(), scope, p.text("name"), presser(r), false); err != nil {
		return err
	}
	s.bounds.forget()
	return pressed(w, r, "/settings#limits")
}

// pressTest sends a receiver a test and shows what became of it.
func (s *site) pressTest(w http.ResponseWriter, r *http.Request) error {
	d, err := s.try(r, presser(r))
	if err != nil {
		return err
	}
	v := toldView{Title: "Test of " + clean(d.Receiver), Text: clean(d.Receiver) + " took the test.",
		CLI: "tranship notice test " + shellQuote(d.Receiver), Back: "notices"}
	if d.State != work.DeliverySent {
		v.Bad, v.Text = true, fmt.Sprintf("%s did not take the test: %s. Compare its settings with notify of the coordinator's configuration.", clean(d.Receiver), clean(d.Error))
	}
	return s.tell(w, r, v)
}

func (s *site) pressResend(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.resend(r, presser(r)); err != nil {
		return err
	}
	return pressed(w, r, "/settings#deliveries")
}

func (s *site) pressDrain(w http.ResponseWriter, r *http.Request) error {
	if err := s.drain(r, presser(r)); err != nil {
		return err
	}
	return pressed(w, r, agentHref(r.PathValue("site"), r.PathValue("agent")))
}

func (s *site) pressRevokeAgent(w http.ResponseWriter, r *http.Request) error {
	i, err := s.shutOut(r, presser(r))
	if err != nil {
		return err
	}
	s.fleet.forget()
	return pressed(w, r, agentHref(i.Site, i.Agent))
}

func (s *site) pressPriority(w http.ResponseWriter, r *http.Request) error {
	id, err := readJobID(r)
	if err != nil {
		return err
	}
	p, err := readForm(r, "class")
	if err != nil {
		return err
	}
	class := oneOf(p, "class", work.Classes()...)
	if class == "" {
		p.parameter("class", "use hi, norm or lo")
	}
	if err := p.err(); err != nil {
		return err
	}
	if _, err := s.Commander.SetClass(r.Context(), id, class, presser(r)); err != nil {
		return s.refused(r.Context(), id, "given another priority", err)
	}
	return pressed(w, r, "/jobs/"+id.String())
}

// agentHref is where an agent is shown.
func agentHref(site, agent string) string {
	return "/agents/" + url.PathEscape(site) + "/" + url.PathEscape(agent)
}

// shellWords returns words as a POSIX shell reads them.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellQuote(w)
	}
	return strings.Join(quoted, " ")
}
