package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (s *site) listLimits(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r)
	if err := p.err(); err != nil {
		return err
	}
	limits, shares, unbounded, err := s.Limits.Limits(r.Context())
	if err != nil {
		return err
	}
	list := api.LimitList{Limits: make([]api.Limit, len(limits)), UnboundedAgents: append([]string{}, unbounded...)}
	for i, l := range limits {
		rate, stop := l.At(s.now())
		list.Limits[i] = api.Limit{Limit: l, Now: api.Allowed{Rate: rate, Stop: stop}, Shares: []work.ShareRow{}}
		for _, sh := range shares {
			if sh.Limit == l.ID && sh.Rate != (work.Rate{}) {
				list.Limits[i].Shares = append(list.Limits[i].Shares, sh)
			}
		}
	}
	return answerJSON(w, list)
}

var newLimitFields = fields{"scope": nil, "name": nil, "bytes": nil, "requests": nil, "dry_run": nil,
	"windows": {"days": nil, "from": nil, "until": nil, "zone": nil, "bytes": nil, "requests": nil, "stop": nil}}

func (s *site) setLimit(w http.ResponseWriter, r *http.Request) error {
	var in api.NewLimit
	var f findings
	who := readWho(r, &f)
	if err := readBody(r, &in, false, newLimitFields, &f); err != nil {
		return err
	}
	if why := checkLine(in.Name, maxURL); why != "" {
		f.body("/name", "%s", why)
		return f.err()
	}
	if in.Scope == work.LimitStore {
		if why := checkURL(in.Name); why != "" {
			f.body("/name", "%s", why)
			return f.err()
		}
	}
	limit := work.Limit{Scope: in.Scope, Name: in.Name, Rate: in.Rate, Windows: in.Windows}
	if err := limit.Check(); err != nil {
		f.body("", "%s", err)
		return f.err()
	}
	now, before, err := s.Limits.SetLimit(r.Context(), limit, who, in.DryRun)
	switch {
	case errors.Is(err, work.ErrTooMany):
		f.body("", "there are %d limits already, and there may be no more: remove one", work.MaxLimits)
		return f.err()
	case err != nil:
		return err
	}
	return answerJSON(w, api.ChangedLimit{Limit: &now, Before: before})
}

func (s *site) removeLimit(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "scope", "name", "dry_run")
	scope := oneOf(p, "scope", work.LimitStore, work.LimitSite, work.LimitJob)
	name, dry := p.text("name"), oneOf(p, "dry_run", "true", "false")
	if scope == "" || name == "" {
		p.parameter("name", "say which limit is meant by scope and name")
	}
	who := readWho(r, &p.findings)
	if err := p.err(); err != nil {
		return err
	}
	gone, err := s.Limits.RemoveLimit(r.Context(), scope, name, who, dry == "true")
	switch {
	case errors.Is(err, work.ErrNotThere):
		return api.NewProblem(api.NotFound, fmt.Sprintf("there is no limit of %s %s", scope, clip(name)))
	case err != nil:
		return err
	}
	return answerJSON(w, api.ChangedLimit{Before: &gone})
}

func (s *site) setPriority(w http.ResponseWriter, r *http.Request) error {
	id, who, err := readCommand(r)
	if err != nil {
		return err
	}
	var in api.Priority
	var f findings
	if err := readBody(r, &in, false, fields{"class": nil}, &f); err != nil {
		return err
	}
	if !slices.Contains(work.Classes(), in.Class) {
		f.body("/class", "unknown class %q: use hi, norm or lo", clip(string(in.Class)))
		return f.err()
	}
	job, err := s.Commander.SetClass(r.Context(), id, in.Class, who)
	if err != nil {
		return s.refused(r.Context(), id, "given another priority", err)
	}
	return answerJSON(w, api.Job{Job: job})
}
