package allot

import (
	"math"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// lasts is how long an allotment counts from the answer that it begins with.
const lasts = 15 * time.Second

const (
	// spare is what part of what it uses an agent is left beside that.
	spare = 4
	// idle is what part of an even share an agent has that uses nothing, so that
	// it can begin at once.
	idle = 8
	// milli is how requests are counted, so that they are whole numbers too.
	milli = 1000
)

// Plan divides all limits anew and returns what agents are to be told, with
// Since, For and Shares filled in. It is for a ledger's Allot.
func Plan(d work.Division) []work.Grant {
	p := &plan{Division: d, grants: make([]work.Grant, len(d.Sharers))}
	for i, s := range d.Sharers {
		p.grants[i] = work.Grant{Site: s.Site, Agent: s.Agent, Allotment: work.Allotment{Since: s.Stamp, For: lasts}}
	}
	for i := range d.Limits {
		p.limit(&d.Limits[i])
	}
	if len(d.Limits) > 0 {
		return p.grants
	}
	var told []work.Grant // nothing is limited any more
	for i, s := range d.Sharers {
		if s.Bound {
			told = append(told, p.grants[i])
		}
	}
	return told
}

// A plan is being made.
type plan struct {
	work.Division
	grants []work.Grant
}

// A claim is what an agent has to do with a limit.
type claim struct {
	sharer   int           // its place; -1: the agent is gone
	row      work.ShareRow // what it may be using
	use      work.Use
	known    bool // use
	expected bool // it needs it, or may at any moment: it says so, or there is work for it
}

// limit divides one limit.
func (p *plan) limit(l *work.Limit) {
	rate, stop := l.At(p.Now)
	claims := p.claims(l)
	n := int64(0) // that need it
	for _, c := range claims {
		if c.expected {
			n++
		}
	}
	amount := func(limit int64, of func(work.Rate) int64, used func(work.Use) (int64, bool)) []int64 {
		holders := make([]holder, len(claims))
		for i, c := range claims {
			holders[i] = holder{held: of(c.row.Rate), told: of(c.row.Told), deaf: c.sharer < 0 || p.Sharers[c.sharer].Stamp == ""}
			have, more := used(c.use)
			holders[i].wants = c.wants(limit, limit/max(n, 1), holders[i].held, have, more)
		}
		return divide(limit, holders)
	}
	var bytes, requests []int64
	if rate.Bytes > 0 {
		bytes = amount(rate.Bytes, func(r work.Rate) int64 { return r.Bytes },
			func(u work.Use) (int64, bool) { return u.Bytes, u.MoreBytes })
	}
	if rate.Requests > 0 {
		requests = amount(int64(rate.Requests*milli), func(r work.Rate) int64 { return int64(math.Round(r.Requests * milli)) },
			func(u work.Use) (int64, bool) { return int64(u.Requests * milli), u.MoreRequests })
	}
	for i, c := range claims {
		if c.sharer < 0 || p.Sharers[c.sharer].Stamp == "" {
			continue
		}
		s := work.Share{Limit: l.ID, Scope: l.Scope, Name: l.Name, Stop: stop}
		if bytes != nil {
			s.Bytes = bytes[i]
			s.Stop = s.Stop || s.Bytes == 0
		}
		if requests != nil {
			s.Requests = float64(requests[i]) / milli
			s.Stop = s.Stop || s.Requests == 0
		}
		if s.Stop {
			s.Rate = work.Rate{}
		}
		g := &p.grants[c.sharer]
		g.Shares = append(g.Shares, s)
	}
}

// wants returns how much an agent should have of a limit, of which each that
// needs it would have an even part.
func (c claim) wants(limit, even, held, used int64, more bool) int64 {
	switch {
	case more:
		return min(limit, max(2*held, even))
	case !c.known && c.expected:
		return even
	}
	w := used + used/spare
	if c.expected {
		w += even / idle
	}
	return min(limit, w)
}

// claims returns all agents that a limit could be about.
func (p *plan) claims(l *work.Limit) []claim {
	held := map[[2]string]work.ShareRow{}
	for _, s := range p.InForce {
		if s.Limit == l.ID {
			held[[2]string{s.Site, s.Agent}] = s
		}
	}
	sites, all := p.sites(l)
	var claims []claim
	for i, s := range p.Sharers {
		key := [2]string{s.Site, s.Agent}
		if p.reaches(l, s.Site) {
			c := claim{sharer: i, row: held[key], expected: all || sites[s.Site]}
			if at := slices.IndexFunc(s.Uses, func(u work.Use) bool { return u.Limit == l.ID }); at >= 0 {
				c.use, c.known = s.Uses[at], true
				c.expected = c.expected || c.use.Bytes > 0 || c.use.Requests > 0 || c.use.MoreBytes || c.use.MoreRequests
			}
			claims = append(claims, c)
			delete(held, key)
		}
	}
	for _, r := range held {
		claims = append(claims, claim{sharer: -1, row: r})
	}
	return claims
}

// reaches reports whether agents of a site are to know of a limit. Of a store
// all are: any may come to be asked to move what lies there.
func (p *plan) reaches(l *work.Limit, site string) bool {
	if l.Scope == work.LimitSite {
		return l.Name == site
	}
	return true
}

// sites returns where there is work that a limit is about, as far as the names
// of its stores say; all means that any agent may do it. Agents that know of a
// store by another name say that they use the limit, or wait for it.
func (p *plan) sites(l *work.Limit) (sites map[string]bool, all bool) {
	sites = map[string]bool{}
	for _, j := range p.Jobs {
		if l.Concerns(j.ID, j.Source, j.Target, j.Site) {
			sites[j.Site] = true
			all = all || j.Site == work.AnySite
		}
	}
	return sites, all
}
