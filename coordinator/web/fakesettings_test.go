package web

import (
	"context"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func (f *fake) LatestEvents(_ context.Context, id work.JobID, before int64, limit int) ([]work.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, f.broken
	}
	var some []work.Event
	for _, e := range slices.Backward(f.events) {
		if (id == 0 || e.Job == id) && (before == 0 || e.ID < before) && len(some) < limit {
			some = append(some, e)
		}
	}
	return some, nil
}

// A fakeTokens is the Access of a site that is open, which asks nobody for one.
type fakeTokens struct {
	Gate
	Sessions
	*fake
}

func (f fakeTokens) Tokens(context.Context) ([]work.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tokens), f.broken
}

func (f fakeTokens) CreateToken(_ context.Context, n work.Token, _ []byte, life time.Duration) (work.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.tokens, func(t work.Token) bool { return t.Name == n.Name }) {
		return work.Token{}, work.ErrNameTaken
	}
	n.ID, n.CreatedAt = work.TokenID(len(f.tokens)+1), noon
	if life > 0 {
		n.ExpiresAt = noon.Add(life)
	}
	f.tokens = append(f.tokens, n)
	return n, nil
}

func (f fakeTokens) RevokeToken(_ context.Context, id work.TokenID, _ string) (work.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.tokens {
		if t := &f.tokens[i]; t.ID == id {
			t.RevokedAt = noon
			return *t, nil
		}
	}
	return work.Token{}, work.ErrNotThere
}

// governed is a fleet at work of which something of everything is set.
func governed() *fake {
	f := atWork()
	f.tokens = []work.Token{
		{ID: 3, Name: "ada@example.org", Scope: work.ScopeAdmin, CreatedAt: noon.Add(-40 * time.Hour), CreatedBy: "tranship", UsedAt: noon.Add(-time.Minute)},
		{ID: 2, Name: "grafana", Scope: work.ScopeRead, CreatedAt: noon.Add(-90 * time.Hour), CreatedBy: "ada@example.org", ExpiresAt: noon.Add(-time.Hour)},
		{ID: 1, Name: "ci", Scope: work.ScopeOperate, CreatedAt: noon.Add(-99 * time.Hour), CreatedBy: "ada@example.org", RevokedAt: noon.Add(-time.Hour)},
	}
	f.limits = []work.Limit{
		{ID: 1, Scope: work.LimitStore, Name: "s3://shop-images", Rate: work.Rate{Bytes: 200 << 20, Requests: 500}, ChangedAt: noon.Add(-2 * time.Hour), ChangedBy: "ada@example.org",
			Windows: []work.Window{{Days: []time.Weekday{1, 2, 3, 4, 5}, From: "08:00", Until: "18:00", Zone: "Europe/Berlin", Rate: work.Rate{Bytes: 20 << 20}},
				{From: "02:00", Until: "02:30", Stop: true}}},
		{ID: 2, Scope: work.LimitJob, Name: "7", Rate: work.Rate{Bytes: 64 << 20}, ChangedAt: noon.Add(-time.Minute), ChangedBy: "grace@laptop"},
		{ID: 3, Scope: work.LimitSite, Name: "gcp-europe-west4", ChangedAt: noon.Add(-time.Minute), ChangedBy: "grace@laptop",
			Windows: []work.Window{{From: "11:00", Until: "13:00", Stop: true}}},
	}
	identity := func(revoked time.Time) *work.Identity {
		return &work.Identity{Key: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", Host: "ip-10-0-3-18", JoinedAt: noon.Add(-3 * time.Hour), RevokedAt: revoked, RevokedBy: "ada"}
	}
	shut := f.agents[4]
	shut.Agent, shut.Identity = "west-2", identity(noon.Add(-time.Minute))
	f.agents = append(f.agents, shut, work.AgentRow{Identity: identity(time.Time{}),
		Presence: work.Presence{Agent: "west-3", Site: "gcp-europe-west4", Host: "ip-10-0-3-18", Started: noon.Add(-3 * time.Hour)}})
	f.agents[1].Identity = identity(time.Time{})
	awaiting := f.jobs[6]
	awaiting.ID, awaiting.Stalled = 8, nil
	f.jobs[8] = awaiting
	f.tell(0, "ada@example.org", "token created", "ci may operate")
	f.events[len(f.events)-1].From = "203.0.113.7"
	f.tell(0, "grace@laptop", "limit set", "job 7: 64 MiB/s")
	return f
}
