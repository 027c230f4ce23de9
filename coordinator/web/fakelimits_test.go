package web

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tranship/tranship/internal/work"
)

func (f *fake) SetClass(_ context.Context, id work.JobID, class work.Class, who string) (work.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, ok := f.jobs[id]
	switch {
	case !ok:
		return work.Job{}, work.ErrNoJob
	case !j.State.Open():
		return work.Job{}, work.ErrState
	}
	j.Class = class
	f.jobs[id] = j
	f.tell(id, who, "priority set", string(class))
	return j, nil
}

func (f *fake) Limits(context.Context) ([]work.Limit, []work.ShareRow, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var shares []work.ShareRow
	for _, l := range f.limits {
		shares = append(shares, work.ShareRow{Limit: l.ID, Site: "aws-eu-west-1", Agent: "hub-1", Rate: l.Rate, Told: l.Rate, Until: noon})
	}
	return slices.Clone(f.limits), shares, []string{"gcp-europe-west4/west-1"}, f.broken
}

func (f *fake) SetLimit(_ context.Context, l work.Limit, who string, dry bool) (work.Limit, *work.Limit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.Name == "404" {
		return l, nil, work.ErrNoJob
	}
	if l.Name == "s3://full" {
		return l, nil, fmt.Errorf("limit: %w", work.ErrTooMany)
	}
	l.ID, l.ChangedAt, l.ChangedBy = work.LimitID(len(f.limits)+1), noon, who
	var before *work.Limit
	at := slices.IndexFunc(f.limits, func(o work.Limit) bool { return o.Scope == l.Scope && o.Name == l.Name })
	if at >= 0 {
		old := f.limits[at]
		before, l.ID = &old, old.ID
	}
	switch {
	case dry:
	case at >= 0:
		f.limits[at] = l
	default:
		f.limits = append(f.limits, l)
	}
	return l, before, nil
}

func (f *fake) RemoveLimit(_ context.Context, scope work.LimitScope, name, _ string, dry bool) (work.Limit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := slices.IndexFunc(f.limits, func(o work.Limit) bool { return o.Scope == scope && o.Name == name })
	if at < 0 {
		return work.Limit{}, errors.Join(work.ErrNotThere)
	}
	gone := f.limits[at]
	if !dry {
		f.limits = slices.Delete(f.limits, at, at+1)
	}
	return gone, nil
}
