package web

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// useLimits uses every operation on limits and priorities.
func useLimits(t *testing.T, b *bench) {
	t.Helper()
	ctx, c := t.Context(), b.client
	asked := api.NewLimit{Scope: work.LimitStore, Name: "s3://bucket/", Rate: work.Rate{Bytes: 1 << 20, Requests: 2.5},
		Windows: []work.Window{{Days: []time.Weekday{time.Monday}, From: "12:00", Until: "14:00", Zone: "Europe/Berlin", Rate: work.Rate{Bytes: 1 << 30}},
			{From: "23:00", Until: "01:00", Stop: true}}, DryRun: true}
	checkRequest(t, "NewLimit", asked)
	out, err := c.SetLimit(ctx, asked)
	if err != nil || out.Limit.Name != "s3://bucket" || out.Before != nil {
		t.Errorf("would set %+v, %v", out, err)
	}
	if l, err := c.Limits(ctx); err != nil || len(l.Limits) != 0 {
		t.Errorf("after a dry run there is %+v, %v", l, err)
	}
	asked.DryRun = false
	for i := range 2 {
		if out, err = c.SetLimit(ctx, asked); err != nil || (out.Before != nil) != (i > 0) {
			t.Errorf("set %+v, %v", out, err)
		}
	}
	l, err := c.Limits(ctx)
	if err != nil || len(l.Limits) != 1 || l.Limits[0].Now.Bytes != 1<<30 || l.Limits[0].ChangedBy != c.Who ||
		len(l.Limits[0].Shares) != 1 || len(l.UnboundedAgents) != 1 {
		t.Errorf("limits at noon of a Monday: %+v, %v", l, err)
	}
	for _, dry := range []bool{true, false} {
		if out, err = c.RemoveLimit(ctx, work.LimitStore, "s3://bucket", dry); err != nil || out.Limit != nil || out.Before.Bytes != 1<<20 {
			t.Errorf("removed, dry %v: %+v, %v", dry, out, err)
		}
	}
	checkRequest(t, "Priority", api.Priority{Class: work.Hi})
	if j, err := c.SetPriority(ctx, 7, work.Hi); err != nil || j.Class != work.Hi {
		t.Errorf("priority set: %+v, %v", j, err)
	}
}

func TestLimitsRefused(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	for body, want := range map[string]string{
		`{"scope":"planet","name":"x","bytes":9999}`:                                                           "unknown scope",
		`{"scope":"store","name":"s3://key:secret@bucket","bytes":9999}`:                                       "must not hold credentials",
		`{"scope":"store","name":"bucket","bytes":9999}`:                                                       "/name",
		`{"scope":"site","name":"any","bytes":9999}`:                                                           "a meaning of its own",
		`{"scope":"job","name":"x","bytes":9999}`:                                                              "number of a job",
		`{"scope":"job","name":"404","bytes":9999}`:                                                            "no_job",
		`{"scope":"store","name":"s3://full","bytes":9999}`:                                                    "remove one",
		`{"scope":"store","name":"s3://b"}`:                                                                    "bounds nothing",
		`{"scope":"store","name":"s3://b","bytes":-1}`:                                                         "out of range",
		`{"scope":"store","name":"s3://b","bytes":9999,"windows":[{"from":"8","until":"09:00"}]}`:              "time of day",
		`{"scope":"store","name":"s3://b","bytes":9999,"windows":[{"from":"08:00","until":"09:00","x":1}]}`:    "/windows/0/x",
		`{"scope":"store","name":"s3://b","windows":[{"from":"08:00","until":"09:00","zone":"Europe/Rome2"}]}`: "Europe/Berlin",
	} {
		resp, text := b.do(t, "PUT", "/v1/limits", body, "Content-Type", "application/json")
		if resp.StatusCode < 400 || resp.StatusCode >= 500 || !strings.Contains(text, want) {
			t.Errorf("PUT %s answered %s: %s; want %q in it", body, resp.Status, text, want)
		}
	}
	if resp, text := b.do(t, "DELETE", "/v1/limits?scope=store&name=s3://none", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("removing what is not there answered %s: %s", resp.Status, text)
	}
	if resp, text := b.do(t, "DELETE", "/v1/limits?scope=store", ""); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("removing without a name answered %s: %s", resp.Status, text)
	}
	if resp, text := b.do(t, "POST", "/v1/jobs/7/priority", `{"class":"urgent"}`, "Content-Type", "application/json"); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("an unknown class answered %s: %s", resp.Status, text)
	}
	var p *api.Problem
	if _, err := b.client.SetPriority(t.Context(), 1, work.Hi); !errors.As(err, &p) || p.Code != api.JobState {
		t.Errorf("priority of a job that has ended: %v", err)
	}
}
