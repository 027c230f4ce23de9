package web

import (
	"context"
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
	list, err := s.limitList(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, list)
}

// limitList returns all limits as they stand now.
func (s *site) limitList(ctx context.Context) (api.LimitList, error) {
	limits, shares, unbounded, err := s.Limits.Limits(ctx)
	if err != nil {
		return api.LimitList{}, err
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
	return list, nil
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
	now, before, err := s.changeLimit(r.Context(), in, who)
	if err != nil {
		return err
	}
	return answerJSON(w, api.ChangedLimit{Limit: &now, Before: before})
}

// changeLimit checks and sets a limit.
func (s *site) changeLimit(ctx context.Context, in api.NewLimit, who string) (now work.Limit, before *work.Limit, err error) {
	var f findings
	if why := checkLine(in.Name, maxURL); why != "" {
		f.body("/name", "%s", why)
		return now, nil, f.err()
	}
	if in.Scope == work.LimitStore {
		if why := checkURL(in.Name); why != "" {
			f.body("/name", "%s", why)
			return now, nil, f.err()
		}
	}
	limit := work.Limit{Scope: in.Scope, Name: in.Name, Rate: in.Rate, Windows: in.Windows}
	if err := limit.Check(); err != nil {
		f.body("", "%s", err)
		return now, nil, f.err()
	}
	now, before, err = s.Limits.SetLimit(ctx, limit, who, in.DryRun)
	if errors.Is(err, work.ErrTooMany) {
		f.body("", "there are %d limits already, and there may be no more: remove one", work.MaxLimits)
		err = f.err()
	}
	return now, before, err
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
	gone, err := s.dropLimit(r.Context(), scope, name, who, dry == "true")
	if err != nil {
		return err
	}
	return answerJSON(w, api.ChangedLimit{Before: &gone})
}

func (s *site) dropLimit(ctx context.Context, scope work.LimitScope, name, who string, dry bool) (work.Limit, error) {
	gone, err := s.Limits.RemoveLimit(ctx, scope, name, who, dry)
	if errors.Is(err, work.ErrNotThere) {
		return gone, api.NewProblem(api.NotFound, fmt.Sprintf("there is no limit of %s %s", scope, clip(name)))
	}
	return gone, err
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
