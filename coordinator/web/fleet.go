package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const (
	pageAgents = 100 // on a page of the fleet
	busyAgents = 12  // on the page of a job that they work on
)

// A fleet is the agents as they were a moment ago, also as the API says it.
type fleet struct {
	agents []work.AgentRow
	data   []byte
}

// fleetNow reads the fleet once for all that ask at a time.
func (s *site) fleetNow(ctx context.Context) (fleet, error) {
	return s.fleet.get(ctx, struct{}{}, func(ctx context.Context, _ struct{}) (fleet, error) {
		agents, err := s.Ledger.Agents(ctx)
		if err != nil {
			return fleet{}, err
		}
		data, err := json.Marshal(api.AgentList{Agents: notNil(agents)})
		if err != nil {
			return fleet{}, fmt.Errorf("encode the agents: %w", err)
		}
		return fleet{agents, data}, nil
	})
}

// An agentRow is an agent as a table shows it.
type agentRow struct {
	work.AgentRow
	Seen   moment
	Since  moment
	Silent bool
	Href   string
}

// Unseen reports whether the agent has joined and was never heard from.
func (a agentRow) Unseen() bool { return a.LastSeen.IsZero() }

// Revoked reports whether the agent was shut out of the fleet.
func (a agentRow) Revoked() bool { return a.Identity != nil && !a.Identity.RevokedAt.IsZero() }

// Lost reports whether the agent was heard from, and should be still.
func (a agentRow) Lost() bool { return a.Silent && !a.Unseen() && !a.Revoked() }

// Stuck reports whether something keeps the agent from working. Of one that has
// fallen silent, or was shut out, it is not known any more.
func (a agentRow) Stuck() bool { return !a.Silent && !a.Revoked() && a.Trouble != "" }

// Word says in a word or two how the agent is.
func (a agentRow) Word() string {
	switch {
	case a.Revoked():
		return "revoked"
	case a.Unseen():
		return "never seen"
	case a.Silent:
		return "silent"
	case a.Stuck():
		return "trouble"
	}
	return a.State
}

// agentRows returns the fleet by site and name, at each site those that are
// alive first.
func (s *site) agentRows(ctx context.Context) ([]agentRow, error) {
	now, err := s.fleetNow(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]agentRow, 0, len(now.agents))
	for _, a := range now.agents {
		rows = append(rows, s.agentRow(a))
	}
	slices.SortStableFunc(rows, func(a, b agentRow) int {
		silent := func(a agentRow) int {
			if a.Silent {
				return 1
			}
			return 0
		}
		return cmp.Or(strings.Compare(a.Site, b.Site), cmp.Compare(silent(a), silent(b)), strings.Compare(a.Agent, b.Agent))
	})
	return rows, nil
}

func (s *site) agentRow(a work.AgentRow) agentRow {
	now := s.now()
	return agentRow{AgentRow: a, Seen: when(a.LastSeen, now), Since: when(a.Started, now),
		Silent: now.Sub(a.LastSeen) > agentSilent, Href: agentHref(a.Site, a.Agent)}
}

// A siteRow is the agents of one site together.
type siteRow struct {
	Name           string
	Href           string
	Agents         int64
	Silent, Stuck  int64
	Streams, Limit int64
	Rate           float64
	Rows           []agentRow // of them on this page
}

// bySite adds agents up by their sites, which they are sorted by.
func bySite(rows []agentRow) []siteRow {
	var list []siteRow
	for _, a := range rows {
		if len(list) == 0 || list[len(list)-1].Name != a.Site {
			list = append(list, siteRow{Name: a.Site, Href: "/agents?" + url.Values{"site": {clean(a.Site)}}.Encode()})
		}
		at := &list[len(list)-1]
		at.Agents++
		if a.Lost() {
			at.Silent++
		}
		if a.Silent {
			continue
		}
		if a.Stuck() {
			at.Stuck++
		}
		at.Streams, at.Limit, at.Rate = at.Streams+int64(a.Streams), at.Limit+int64(a.Limit), at.Rate+a.Rate
	}
	return list
}

type agentsView struct {
	Sites      []siteRow // that there are, whatever is asked for
	Groups     []siteRow // what is asked for, of this page
	Site, Text string
	Job        work.JobID // zero: any
	All, Found int64
	First      bool
	Next       string
	Newest     string // the first page
}

// Filtered reports whether not all agents were asked for.
func (v agentsView) Filtered() bool { return v.Site != "" || v.Text != "" || v.Job != 0 }

func (s *site) agentsPage(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "site", "text", "job", "page")
	v := agentsView{Site: p.text("site"), Text: p.text("text"), Job: work.JobID(p.number("job", 0, 1, 1<<62)), Newest: with(r.URL, "page", "")}
	page := int(p.number("page", 1, 1, 1<<20))
	if err := p.err(); err != nil {
		return err
	}
	rows, err := s.agentRows(r.Context())
	if err != nil {
		return err
	}
	v.Sites, v.All, v.First = bySite(rows), int64(len(rows)), page == 1
	rows = slices.DeleteFunc(rows, func(a agentRow) bool { return !v.wants(a) })
	v.Found = int64(len(rows))
	from := min((page-1)*pageAgents, len(rows))
	upto := min(from+pageAgents, len(rows))
	if upto < len(rows) {
		v.Next = with(r.URL, "page", strconv.Itoa(page+1))
	}
	v.Groups = groups(rows, from, upto)
	return s.render(w, r, http.StatusOK, "agents.html",
		view{Title: "Agents", Nav: "agents", Stream: "/v1/events?brief=true", Moving: true, Page: v})
}

// wants reports whether the agent is among those asked for.
func (v agentsView) wants(a agentRow) bool {
	if v.Site != "" && clean(a.Site) != v.Site || v.Job != 0 && !slices.Contains(a.Moving, v.Job) {
		return false
	}
	text := strings.ToLower(v.Text)
	for _, t := range append([]string{a.Agent, a.Site, a.Host, a.Version, a.Word(), a.Trouble}, a.Stores...) {
		if strings.Contains(strings.ToLower(t), text) {
			return true
		}
	}
	for name, value := range a.Labels {
		if strings.Contains(strings.ToLower(name+"="+value), text) {
			return true
		}
	}
	return false
}

// groups returns a page of agents by site; the sums are of all.
func groups(rows []agentRow, from, upto int) []siteRow {
	sums := bySite(rows)
	var list []siteRow
	at := 0
	for _, g := range sums {
		low, high := max(from, at), min(upto, at+int(g.Agents))
		at += int(g.Agents)
		if low < high {
			g.Rows = rows[low:high]
			list = append(list, g)
		}
	}
	return list
}

type agentView struct {
	agentRow
	rights
	Full      string // its name with that of its site, for a shell
	Joined    moment // zero: not by an invitation
	RevokedAt moment
	Jobs      []jobLink
}

// Drains reports whether the agent can be asked to finish and go.
func (v agentView) Drains() bool {
	return v.Operate && !v.Silent && !v.Revoked() && v.State != "draining"
}

// Revocable reports whether the agent can be shut out.
func (v agentView) Revocable() bool { return v.Admin && v.Identity != nil && !v.Revoked() }

// A jobLink is a job that is only named.
type jobLink struct{ Href, Label string }

// agentPage shows one agent.
func (s *site) agentPage(w http.ResponseWriter, r *http.Request) error {
	now, err := s.fleetNow(r.Context())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(now.agents, func(a work.AgentRow) bool {
		return a.Site == r.PathValue("site") && a.Agent == r.PathValue("agent")
	})
	if at < 0 {
		return api.NewProblem(api.NotFound, "no agent of this name was ever heard from at this site")
	}
	v := agentView{agentRow: s.agentRow(now.agents[at]), rights: rightsOf(r)}
	v.Full = shellQuote(v.Site + "/" + v.Agent)
	if i := v.Identity; i != nil {
		v.Joined, v.RevokedAt = when(i.JoinedAt, s.now()), when(i.RevokedAt, s.now())
	}
	for _, id := range v.Moving[:min(len(v.Moving), busyAgents)] {
		link := jobLink{"/jobs/" + id.String(), "Job " + id.String()}
		if j, err := s.one.get(r.Context(), id, s.job); err == nil {
			link.Label = s.row(j).Label()
		}
		v.Jobs = append(v.Jobs, link)
	}
	return s.render(w, r, http.StatusOK, "agent.html", view{Title: "Agent " + clean(v.Agent), Nav: "agents",
		Stream: "/v1/events?brief=true", Moving: true, Page: v})
}

// A worker is an agent that moves bytes of a job, or has lately.
type worker struct {
	agentRow
	Tuned *work.Tuning // for the job's two stores; nil: it does not say
}

// workersOn returns the agents that move bytes of a job, those that move the
// most first.
func workersOn(j work.Job, agents []agentRow) []worker {
	var list []worker
	for _, a := range agents {
		if a.Silent {
			continue
		}
		w := worker{agentRow: a}
		for i, t := range a.Tuning {
			if inStore(j.Source, t.Source) && inStore(j.Target, t.Target) {
				w.Tuned = &a.Tuning[i]
			}
		}
		if slices.Contains(a.Moving, j.ID) || a.Moving == nil && w.Tuned != nil {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b worker) int { return cmp.Compare(b.Rate, a.Rate) })
	return list
}

// inStore reports whether a store's URL is in the bucket.
func inStore(store, bucket string) bool {
	rest, ok := strings.CutPrefix(store, strings.TrimSuffix(bucket, "/"))
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}
