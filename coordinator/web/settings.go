package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const (
	deliveryRows  = 15 // on the page of settings
	newestEvents  = 10
	shownShares   = 12 // of one limit
	shownUnbound  = 5  // agents that keep to no limit, by name
	wholeLimitCLI = `tranship limit set store s3://bucket --bytes 200MiB --window 'mon-fri 08:00-18:00 Europe/Berlin 20MiB'`
)

// A tokenRow is a token as a table shows it.
type tokenRow struct {
	work.Token
	Created, Expires, Used, Revoked moment
	Over                            bool // it lets nobody in
	CLI                             string
}

// An inviteRow is an invitation as a table shows it.
type inviteRow struct {
	work.Invite
	Expires moment
	CLI     string
}

// A limitRow is a limit as a table shows it.
type limitRow struct {
	api.Limit
	Allows  string // outside of its windows
	Passes  string // now
	Weekly  []string
	Held    []work.ShareRow
	More    int // shares that are not shown
	Changed moment
	CLI     string // that removes it
}

// A receiverRow is a receiver as a table shows it.
type receiverRow struct {
	work.Receiver
	Sent moment
	Href string
	CLI  string
}

// A deliveryRow is a delivery as a table shows it.
type deliveryRow struct {
	work.Delivery
	Created, Sent, Due moment
	Resent             string // the command that does it
}

// A settingsView is the page of all that is set while the fleet runs. Tokens and
// invitations are for those who may change them.
type settingsView struct {
	rights
	Tokens     []tokenRow
	Invites    []inviteRow
	Scopes     []work.Scope
	Limits     []limitRow
	Unbounded  []string // agents that keep to no limit
	MoreFree   int      // such agents that are not named
	LimitCLI   string
	Receivers  []receiverRow
	Deliveries []deliveryRow
	Events     []eventRow
}

func (s *site) settingsPage(w http.ResponseWriter, r *http.Request) error {
	if err := readParams(r).err(); err != nil {
		return err
	}
	v := settingsView{rights: rightsOf(r), Scopes: work.Scopes(), LimitCLI: wholeLimitCLI}
	for _, fill := range []func(context.Context, *settingsView) error{s.fillAccess, s.fillLimits, s.fillNotices} {
		if err := fill(r.Context(), &v); err != nil {
			return err
		}
	}
	var err error
	if v.Events, err = s.latestEvents(r.Context(), 0, 0, newestEvents); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "settings.html",
		view{Title: "Settings", Nav: "settings", Stream: "/v1/events?brief=true", Page: v})
}

// fillAccess reads who is let in, if whoever looks may see that.
func (s *site) fillAccess(ctx context.Context, v *settingsView) error {
	if !v.Admin {
		return nil
	}
	now := s.now()
	tokens, err := s.Access.Tokens(ctx)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		v.Tokens = append(v.Tokens, tokenRow{Token: t, Created: when(t.CreatedAt, now), Expires: when(t.ExpiresAt, now),
			Used: when(t.UsedAt, now), Revoked: when(t.RevokedAt, now), CLI: "tranship token revoke " + shellQuote(t.Name),
			Over: !t.RevokedAt.IsZero() || !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)})
	}
	invites, err := s.Roster.Invites(ctx)
	if err != nil {
		return err
	}
	for _, i := range invites {
		v.Invites = append(v.Invites, inviteRow{i, when(i.ExpiresAt, now), "tranship fleet uninvite " + strconv.FormatInt(i.ID, 10)})
	}
	return nil
}

func (s *site) fillLimits(ctx context.Context, v *settingsView) error {
	list, err := s.limitList(ctx)
	if err != nil {
		return err
	}
	for _, l := range list.Limits {
		v.Limits = append(v.Limits, s.limitRow(l))
	}
	if len(list.Limits) > 0 {
		v.Unbounded = list.UnboundedAgents[:min(len(list.UnboundedAgents), shownUnbound)]
		v.MoreFree = len(list.UnboundedAgents) - len(v.Unbounded)
	}
	return nil
}

func (s *site) limitRow(l api.Limit) limitRow {
	row := limitRow{Limit: l, Allows: allowedText(api.Allowed{Rate: l.Rate}), Passes: allowedText(l.Now),
		Held: l.Shares[:min(len(l.Shares), shownShares)], Changed: when(l.ChangedAt, s.now()),
		CLI: "tranship limit rm " + string(l.Scope) + " " + shellQuote(l.Name)}
	row.More = len(l.Shares) - len(row.Held)
	for _, w := range l.Windows {
		row.Weekly = append(row.Weekly, w.String())
	}
	return row
}

func (s *site) fillNotices(ctx context.Context, v *settingsView) error {
	now := s.now()
	receivers, err := s.Messenger.Receivers(ctx)
	if err != nil {
		return err
	}
	for _, r := range receivers {
		v.Receivers = append(v.Receivers, receiverRow{r, when(r.SentAt, now), "/settings/receivers/" + url.PathEscape(r.Name), "tranship notice test " + shellQuote(r.Name)})
	}
	deliveries, _, err := s.Messenger.Deliveries(ctx, work.DeliveryQuery{Limit: deliveryRows})
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		v.Deliveries = append(v.Deliveries, deliveryRow{d, when(d.CreatedAt, now), when(d.SentAt, now), when(d.NextAt, now),
			"tranship notice resend " + strconv.FormatInt(int64(d.ID), 10)})
	}
	return nil
}

// limitsOf returns the limits that bound a job. They are an aside on its page,
// which does without them if they cannot be read.
func (s *site) limitsOf(ctx context.Context, j work.Job) []limitRow {
	list, err := s.bounds.get(ctx, struct{}{}, func(ctx context.Context, _ struct{}) (api.LimitList, error) { return s.limitList(ctx) })
	if err != nil {
		s.Log.WarnContext(ctx, "limits not read", "job", j.ID, "err", err)
		return nil
	}
	var rows []limitRow
	for _, l := range list.Limits {
		if l.Concerns(j.ID, j.Source, j.Target, j.Site) {
			rows = append(rows, s.limitRow(l))
		}
	}
	return rows
}

// allowedText says what a limit lets pass.
func allowedText(a api.Allowed) string {
	requests := strconv.FormatFloat(a.Requests, 'f', -1, 64) + " requests/s"
	switch {
	case a.Stop:
		return "nothing"
	case a.Rate == (work.Rate{}):
		return "everything"
	case a.Requests == 0:
		return bytesText(a.Bytes) + "/s"
	case a.Bytes == 0:
		return requests
	}
	return bytesText(a.Bytes) + "/s, " + requests
}
